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
from ftkit.data.reading.nested import names_within, nested, value_of
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.repeats import note_lost, without_repeats
from ftkit.data.sources import find_sources, found_splits
from ftkit.data.split import divided, limited, parted
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError
from ftkit.recipe.labelled import LabelledData


class Columns(NamedTuple):
    """Names of the columns to read; `pair` is None for tasks on single texts."""

    text: str
    label: str
    pair: str | None = None


class _Read(NamedTuple):
    """What was read of a source, and its labels."""

    rows: UsableRows
    labels: LabelReader
    schema: pa.Schema

    def split(self, names: Sequence[str]) -> Split:
        """The rows, with labels as indices (int32) into `names`."""
        texts = pa.Table.from_batches(self.rows.batches, schema=self.schema)
        table = texts.append_column("label", self.labels.column_of(names))
        return Split(self.rows.source.split, table, self.rows.source.name)


def load_labelled(
    spec: LabelledData, *, seed: int, narrow: Callable[[Source], Source] | None = None, head: Sequence[str] = ()
) -> tuple[Splits, Columns]:
    """As `load_splits`, with the columns that were read, whether they were named or found."""
    sources, notes = find_sources(spec)
    if narrow is not None:
        sources = {name: narrow(source) for name, source in sources.items()}
    columns = _columns(sources["train"], spec, notes)
    stated = None if spec.label_names is None else _stated_names(spec.label_names)
    train = _read(sources["train"], columns, spec, stated, stated=True)
    names = stated or _found_names(train, columns, head, notes)
    _note_absent(train, names, notes)
    read = [train]
    splits: dict[str, Split] = {"train": train.split(names)}
    for name in ("validation", "test"):
        if name not in sources:
            continue
        found = _read_evaluation(sources[name], columns, spec, names, stated is not None, notes)
        if found is not None:
            read.append(found)
            splits[name] = found.split(names)
    skipped = tuple(row for found in read for row in found.rows.skipped())
    for found in read:
        found.rows.note_skipped(notes)
    in_folds = "validation" not in splits and spec.scores_out_of_fold()
    if "validation" not in splits and not in_folds:
        splits |= _with_validation(splits["train"], names, spec, seed, notes)
    if spec.drop_duplicates:
        splits = without_repeats(splits, notes, names=names)
    for name, split in splits.items():
        splits[name] = limited(split, spec, seed=seed, notes=notes)
        note_lost(split, splits[name], names, notes, what=name)
    found_keys = {"text_column": columns.text, "label_column": columns.label, "label_names": list(names)}
    made = Splits(
        splits["train"],
        splits.get("validation", splits["train"]),
        splits.get("test"),
        names,
        tuple(notes),
        skipped,
        found=found_splits(sources) | found_keys,
    )
    return folded(made, seed=seed) if in_folds else made, columns


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

    return _Read(gather(source, record, schema), labels, schema)


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
    source: Source, columns: Columns, spec: LabelledData, names: Sequence[str], stated: bool, notes: list[str]
) -> _Read | None:
    """A validation or test split; None for the test split of a data set that keeps its labels to itself."""
    if first := _first_rows(source):
        for kind, name in (("text", columns.text), ("text_pair", columns.pair), ("label", columns.label)):
            refuse_absent(name, names_within(first), where=source.name, key=f"{kind}_column")
    if source.may_lack_answers(spec):
        read = _gather(source, columns, names, stated=stated)
        if read.labels.num_missing and not read.rows.num_rows and read.labels.num_missing == len(read.rows.bad):
            notes.append(f"{source.name} has no labels: there is no test set")
            return None
    return _read(source, columns, spec, names, stated=stated)


def _stated_names(label_names: Sequence[str | int]) -> tuple[str, ...]:
    names = tuple(str(name) for name in label_names)
    if len(set(names)) < len(names) or len(names) < 2:
        raise UserError(
            f"data.label_names must be two or more different names: {shortened(names)}", fix="correct the list"
        )
    return names


def _found_names(train: _Read, columns: Columns, head: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    source, seen = train.rows.source, train.labels.seen
    if (classes := source.class_names.get(columns.label)) is not None:
        _refuse_one_class(seen, columns.label, source.name)
        names, what = classes, f"label names, in the order of {source.name}"
    else:
        names, what = training_names(seen, column=columns.label, where=source.name), "labels, sorted"
    if (rows := rows_of_head(names, head)) is not None:
        # a head and its names are one thing: finetuning goes on with both
        names, what = tuple(names[rows.index(row)] for row in range(len(rows))), "labels, in the order of the base's"
    notes.append(f"{len(names)} {what}: {shortened(names)}")
    return names


def _refuse_one_class(seen: dict[str, Seen], column: str, where: str) -> None:
    if len(seen) < 2:
        training_names(seen, column=column, where=where)


def _note_absent(train: _Read, names: Sequence[str], notes: list[str]) -> None:
    seen = train.labels.seen
    _refuse_one_class(seen, "label", train.rows.source.name)
    if absent := [name for name in names if name not in seen]:
        notes.append(f"labels without a training row: {shortened(absent)}")


def _with_validation(
    train: Split, names: Sequence[str], spec: LabelledData, seed: int, notes: list[str]
) -> dict[str, Split]:
    mask, lone = divided(train, train.keys, train.labels, spec, seed=seed)
    splits = parted(train, mask, otherwise="each label has one text only")
    notes.append(
        f"no validation set: {int(mask.sum()):,} of {len(train):,} training rows split off, stratified by label,"
        f" duplicate texts on one side (data.validation_size: {spec.validation_size:g}, seed {seed})"
    )
    if lone:
        notes.append(
            f"labels with one text only, which stays in training: {shortened([names[label] for label in lone])}"
        )
    return splits


def made_up_labelled(spec: LabelledData, *, sentence: str, text: str, label: str) -> dict[str, Any]:
    """A row of a text and its label with the columns that a recipe names; the second text of a pair is the sentence."""
    pair = {spec.text_pair_column: f"{sentence}."} if spec.text_pair_column else {}
    return nested({spec.text_column or "text": text, **pair, spec.label_column or "label": label})
