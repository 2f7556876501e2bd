"""The `data` part of a recipe to splits of texts and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

from ftkit.data.columns.labelled import choose_columns
from ftkit.data.columns.names import SAMPLE_ROWS, note_unread, refuse_absent
from ftkit.data.dataset import Split, Splits
from ftkit.data.folds import folded
from ftkit.data.form import text_of
from ftkit.data.gather import Record, Source, UsableRows, gather, refuse_bad_rows, told_with
from ftkit.data.labels import LabelReader, Seen, rows_of_head, shortened, training_names
from ftkit.data.mixture.components import (
    Component,
    Components,
    chosen_for_each,
    find_components,
    found_splits,
    source_names,
    source_weights,
)
from ftkit.data.mixture.joining import joined
from ftkit.data.reading.nested import names_within, nested, value_of
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.repeats import note_lost, without_repeats
from ftkit.data.split import divided, limited, nothing_held_out, parted
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError
from ftkit.recipe.labelled import LabelledData


class Columns(NamedTuple):
    """Names of the columns to read; `pair` is None for tasks on single texts."""

    text: str
    label: str
    pair: str | None = None


class ReadAs(NamedTuple):
    """What was read of a source, and the data section as it counts for it."""

    columns: Columns
    spec: LabelledData


class _Read(NamedTuple):
    """What was read of a source, and its labels."""

    rows: UsableRows
    labels: LabelReader

    def split(self, names: Sequence[str]) -> Split:
        """The rows, with labels as indices (int32) into `names`."""
        table = self.rows.table().append_column("label", self.labels.column_of(names))
        return Split(self.rows.source.split, table, self.rows.source.name)


def load_labelled(
    spec: LabelledData, *, seed: int, narrow: Callable[[Source], Source] | None = None, head: Sequence[str] = ()
) -> tuple[Splits, tuple[ReadAs, ...]]:
    """As `load_splits`, with what was read of source 0, 1, ...: columns, whether they were named or found."""
    components, notes = find_components(spec, narrow=narrow)
    sources = source_names(components)
    columns = _columns_of_each(components, notes)
    stated = None if spec.label_names is None else _stated_names(spec.label_names)
    pairs = [*zip(components["train"], columns["train"], strict=True)]
    train = [_read(one.source, of_it, one.spec, stated, stated=True) for one, of_it in pairs]
    names = stated or _found_names(train, head, notes)
    _note_absent(train, names, notes)
    read = {"train": list(zip(components["train"], train, strict=True))}
    for name in ("validation", "test"):
        for one, of_it in zip(components.get(name, ()), columns.get(name, ()), strict=True):
            found = _read_evaluation(one, of_it, names, stated is not None, notes)
            if found is not None:
                read.setdefault(name, []).append((one, found))
    splits = {
        name: joined(name, [(one.name, found.split(names)) for one, found in some], sources)
        for name, some in read.items()
    }
    skipped = tuple(row for some in read.values() for _, found in some for row in found.rows.skipped())
    for some in read.values():
        for _, found in some:
            found.rows.note_skipped(notes)
    in_folds = "validation" not in splits and spec.scores_out_of_fold()
    if "validation" not in splits and not in_folds:
        splits |= _with_validation(splits["train"], names, spec, seed, notes)
    if spec.drop_duplicates:
        splits = without_repeats(splits, notes, names=names)
    for name, split in splits.items():
        splits[name] = limited(split, spec, seed=seed, notes=notes)
        note_lost(split, splits[name], names, notes, what=name)
    first = columns["train"][0]
    of_one = {} if sources else {"text_column": first.text, "label_column": first.label}
    made = Splits(
        splits["train"],
        splits.get("validation", splits["train"]),
        splits.get("test"),
        names,
        tuple(notes),
        skipped,
        weights=source_weights(components),
        found=found_splits(components) | of_one | {"label_names": list(names)},
    )
    of_each: dict[str, ReadAs] = {}
    for name, listed in components.items():
        for one, of_it in zip(listed, columns[name], strict=True):
            of_each.setdefault(one.name if sources else "", ReadAs(of_it, one.spec))
    return folded(made, seed=seed) if in_folds else made, tuple(of_each.values())


def _columns_of_each(components: Components[LabelledData], notes: list[str]) -> dict[str, list[Columns]]:
    """The columns of each source; of held-out rows those of the training source of their name.

    Raises:
        UserError: they are not clear, or some sources are pairs of texts and others single texts.
    """
    keys = ("text_column", "text_pair_column", "label_column")
    found = chosen_for_each(
        components, lambda one, assumed: _columns(one.source, one.spec, assumed), keys=keys, notes=notes
    )
    if len({columns.pair is None for some in found.values() for columns in some}) > 1:
        fix = "name data.text_pair_column for all sources, or for none"
        raise UserError("some sources are pairs of texts, and others single texts", fix=fix)
    return found


def _columns(source: Source, spec: LabelledData, notes: list[str]) -> Columns:
    rows = _first_rows(source)
    if not rows:
        # every row is broken, or there is none: reading it to the end tells which
        _refuse_empty(_gather(source, Columns("text", "label"), None, stated=False).rows)
    try:
        guess = choose_columns(
            rows,
            where=source.name,
            text_column=spec.text_column,
            text_pair_column=spec.text_pair_column,
            label_column=spec.label_column,
        )
    except UserError as error:
        bad = next((row for row in islice(source.rows(), SAMPLE_ROWS) if isinstance(row, BadRow)), None)
        raise told_with(error, source, bad) from None
    assert guess.text is not None
    assert guess.label is not None
    notes.extend(guess.notes)
    note_unread(names_within(rows), [name for name in (guess.text, spec.text_pair_column, guess.label) if name], notes)
    return Columns(guess.text, guess.label, spec.text_pair_column)


def _first_rows(source: Source) -> list[dict[str, object]]:
    rows = (row.values for row in source.rows() if isinstance(row, Row))
    return list(islice(rows, SAMPLE_ROWS))


def _refuse_empty(rows: UsableRows) -> None:
    refuse_bad_rows(rows.source, rows.bad, usable=0)
    raise UserError(
        "there is no row in it", where=rows.source.name, fix="write rows below the header or name another file"
    )


def _gather(source: Source, columns: Columns, names: Sequence[str] | None, *, stated: bool) -> _Read:
    texts = {"text": columns.text} | ({"text_pair": columns.pair} if columns.pair is not None else {})
    schema = pa.schema([(name, pa.string()) for name in texts])
    labels = LabelReader(columns.label, source.class_names.get(columns.label), names, stated=stated)

    def record(row: Row) -> Record:
        found = tuple(_text(row, column) for column in texts.values())
        labels.read(row)
        return found

    return _Read(gather(source, record, schema), labels)


def _text(row: Row, column: str) -> str:
    text = text_of(value_of(row.values, column), column)
    if not text or text.isspace():
        raise Unusable(f"{column} is empty", "fill it in, or remove the row")
    return text


def _read(source: Source, columns: Columns, spec: LabelledData, names: Sequence[str] | None, *, stated: bool) -> _Read:
    read = _gather(source, columns, names, stated=stated)
    read.rows.refuse_bad(spec)
    if not read.rows.num_rows:
        _refuse_empty(read.rows)
    return read


def _read_evaluation(
    component: Component[LabelledData], columns: Columns, names: Sequence[str], stated: bool, notes: list[str]
) -> _Read | None:
    """A validation or test split; None for the test split of a data set that keeps its labels to itself."""
    source = component.source
    if first := _first_rows(source):
        for kind, name in (("text", columns.text), ("text_pair", columns.pair), ("label", columns.label)):
            refuse_absent(name, names_within(first), where=source.name, key=f"{kind}_column")
    if component.may_lack_answers:
        read = _gather(source, columns, names, stated=stated)
        if read.labels.num_missing and not read.rows.num_rows and read.labels.num_missing == len(read.rows.bad):
            notes.append(f"{source.name} has no labels: there is no test set")
            return None
    return _read(source, columns, component.spec, names, stated=stated)


def _stated_names(label_names: Sequence[str | int]) -> tuple[str, ...]:
    names = tuple(str(name) for name in label_names)
    if len(set(names)) < len(names) or len(names) < 2:
        raise UserError(
            f"data.label_names must be two or more different names: {shortened(names)}", fix="correct the list"
        )
    return names


def _found_names(train: Sequence[_Read], head: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    seen, where, column = _seen(train), _where(train), train[0].labels.column
    classes = {found.labels.class_names for found in train}
    if len(classes) == 1 and (of_all := classes.pop()) is not None:
        _refuse_one_class(seen, column, where)
        names, what = tuple(of_all), f"label names, in the order of {where}"
    else:
        names, what = training_names(seen, column=column, where=where), "labels, sorted"
    if (rows := rows_of_head(names, head)) is not None:
        # a head and its names are one thing: finetuning goes on with both
        names, what = tuple(names[rows.index(row)] for row in range(len(rows))), "labels, in the order of the base's"
    notes.append(f"{len(names)} {what}: {shortened(names)}")
    return names


def _seen(train: Sequence[_Read]) -> dict[str, Seen]:
    """The labels of all sources, each with the line of its first row in the first source that has it."""
    seen: dict[str, Seen] = {}
    for found in train:
        for name, entry in found.labels.seen.items():
            before = seen.get(name, Seen(entry.line, 0))
            seen[name] = Seen(before.line, before.count + entry.count)
    return seen


def _where(train: Sequence[_Read]) -> str:
    return ", ".join(found.rows.source.name for found in train)


def _refuse_one_class(seen: dict[str, Seen], column: str, where: str) -> None:
    if len(seen) < 2:
        training_names(seen, column=column, where=where)


def _note_absent(train: Sequence[_Read], names: Sequence[str], notes: list[str]) -> None:
    seen = _seen(train)
    _refuse_one_class(seen, "label", _where(train))
    if absent := [name for name in names if name not in seen]:
        notes.append(f"labels without a training row: {shortened(absent)}")


def _with_validation(
    train: Split, names: Sequence[str], spec: LabelledData, seed: int, notes: list[str]
) -> dict[str, Split]:
    if spec.validation_size == 0:
        return nothing_held_out(train, notes)
    mask, strata = divided(train, train.keys, train.strata, spec, seed=seed)
    splits = parted(train, mask, otherwise="each label has one text only")
    lone = sorted({stratum // max(1, len(train.source_names)) for stratum in strata})
    by = "by label and source" if train.source_names else "by label"
    notes.append(
        f"no validation set: {int(mask.sum()):,} of {len(train):,} training rows split off, stratified {by},"
        f" duplicate texts on one side (data.validation_size: {spec.validation_size:g}, seed {seed})"
    )
    if lone:
        of = " of a source" if train.source_names else ""
        notes.append(
            f"labels with one text only{of}, which stays in training: {shortened([names[label] for label in lone])}"
        )
    return splits


def made_up_labelled(spec: LabelledData, *, sentence: str, text: str, label: str) -> dict[str, Any]:
    """A row of a text and its label with the columns that a recipe names; the second text of a pair is the sentence."""
    pair = {spec.text_pair_column: f"{sentence}."} if spec.text_pair_column else {}
    return nested({spec.text_column or "text": text, **pair, spec.label_column or "label": label})
