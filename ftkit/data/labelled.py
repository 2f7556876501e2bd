"""The `data` part of a recipe to splits of texts and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from ftkit.data.columns.labelled import choose_columns
from ftkit.data.columns.names import SAMPLE_ROWS
from ftkit.data.dataset import Split, Splits, booleans
from ftkit.data.gather import (
    Columns,
    Source,
    UsableRows,
    gather,
    note_skipped,
    refuse_bad_rows,
    skipped_rows,
    text_schema,
    told_with,
)
from ftkit.data.labels import Seen, shortened, training_names
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.repeats import without_repeats
from ftkit.data.sources import find_sources
from ftkit.data.split import limited, split_off
from ftkit.errors import UserError
from ftkit.recipe.labelled import LabelledData


def load_labelled(
    spec: LabelledData, *, seed: int, narrow: Callable[[Source], Source] | None = None
) -> tuple[Splits, Columns]:
    """As `load_splits`, with the columns that were read, whether they were named or found."""
    sources, notes = find_sources(spec)
    if narrow is not None:
        sources = {name: narrow(source) for name, source in sources.items()}
    columns = _columns(sources["train"], spec, notes)
    stated = None if spec.label_names is None else _stated_names(spec.label_names)
    train = _read(sources["train"], columns, spec, stated, stated=True)
    names = stated or _found_names(train, columns, notes)
    _note_absent(train, names, notes)
    read = [train]
    splits: dict[str, Split] = {"train": _split(train, names, columns)}
    for name in ("validation", "test"):
        if name not in sources:
            continue
        gathered = _read_evaluation(sources[name], columns, spec, names, stated is not None, notes)
        if gathered is not None:
            read.append(gathered)
            splits[name] = _split(gathered, names, columns)
    skipped = tuple(row for gathered in read for row in skipped_rows(gathered.source, gathered.bad))
    notes.extend(note_skipped(data.source, data.bad, usable=len(data.codes)) for data in read if data.bad)
    if "validation" not in splits:
        splits |= _with_validation(splits["train"], names, spec, seed, notes)
    if spec.drop_duplicates:
        splits = without_repeats(splits, notes, names=names)
    for name, split in splits.items():
        splits[name] = limited(split, spec, seed=seed, notes=notes)
        _note_lost(split, splits[name], names, notes)
    made = Splits(splits["train"], splits["validation"], splits.get("test"), names, tuple(notes), skipped)
    return made, columns


def _columns(source: Source, spec: LabelledData, notes: list[str]) -> Columns:
    rows = _first_rows(source)
    if not rows:
        # every row is broken, or there is none: reading it to the end tells which
        _refuse_empty(gather(source, Columns("text", "label"), names=None, stated=False))
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
    return Columns(guess.text, guess.label, spec.text_pair_column)


def _first_rows(source: Source) -> list[dict[str, object]]:
    rows = (row.values for row in source.rows() if isinstance(row, Row))
    return list(islice(rows, SAMPLE_ROWS))


def _refuse_empty(gathered: UsableRows) -> None:
    refuse_bad_rows(gathered.source, gathered.bad, usable=len(gathered.codes))
    raise UserError(
        "there is no row in it", where=gathered.source.name, fix="write rows below the header or name another file"
    )


def _read(
    source: Source, columns: Columns, spec: LabelledData, names: Sequence[str] | None, *, stated: bool
) -> UsableRows:
    gathered = gather(source, columns, names=names, stated=stated)
    if spec.on_bad_row == "error" or not gathered.codes:
        refuse_bad_rows(gathered.source, gathered.bad, usable=len(gathered.codes))
    if not gathered.codes:
        _refuse_empty(gathered)
    return gathered


def _read_evaluation(
    source: Source, columns: Columns, spec: LabelledData, names: Sequence[str], stated: bool, notes: list[str]
) -> UsableRows | None:
    """A validation or test split; None for the test split of a data set that keeps its labels to itself."""
    choose_columns(
        _first_rows(source) or [{columns.text: "", columns.label: ""} | ({columns.pair: ""} if columns.pair else {})],
        where=source.name,
        text_column=columns.text,
        text_pair_column=columns.pair,
        label_column=columns.label,
    )
    if source.split == "test" and spec.dataset_name is not None and spec.test_split is None:
        gathered = gather(source, columns, names=names, stated=stated)
        if gathered.missing and not gathered.codes and gathered.missing == len(gathered.bad):
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


def _found_names(train: UsableRows, columns: Columns, notes: list[str]) -> tuple[str, ...]:
    source = train.source
    if (classes := source.class_names.get(columns.label)) is not None:
        notes.append(f"{len(classes)} label names, in the order of {source.name}: {shortened(classes)}")
        _refuse_one_class(train.seen, columns, source.name)
        return classes
    names = training_names(train.seen, column=columns.label, where=source.name)
    notes.append(f"{len(names)} labels, sorted: {shortened(names)}")
    return names


def _refuse_one_class(seen: dict[str, Seen], columns: Columns, where: str) -> None:
    if len(seen) < 2:
        training_names(seen, column=columns.label, where=where)


def _note_absent(train: UsableRows, names: Sequence[str], notes: list[str]) -> None:
    _refuse_one_class(train.seen, Columns("text", "label"), train.source.name)
    if absent := [name for name in names if name not in train.seen]:
        notes.append(f"labels without a training row: {shortened(absent)}")


def _split(gathered: UsableRows, names: Sequence[str], columns: Columns) -> Split:
    source = gathered.source
    return Split(source.split, gathered.table(names, text_schema(columns)), source.name)


def _with_validation(
    train: Split, names: Sequence[str], spec: LabelledData, seed: int, notes: list[str]
) -> dict[str, Split]:
    try:
        division = split_off(train.keys, train.labels, size=spec.validation_size, seed=seed)
    except ValueError as error:
        raise UserError(
            f"data.validation_size: {spec.validation_size:g} does not fit: {error}",
            where=train.source,
            fix="choose a share below 1 or fewer rows, or name a data.validation_file",
        ) from error
    mask = division.validation
    if not mask.any():
        raise UserError(
            f"no row of {len(train)} can be split off for validation: each label has one text only",
            where=train.source,
            fix="add rows, or name a data.validation_file",
        )
    notes.append(
        f"no validation set: {int(mask.sum()):,} of {len(train):,} training rows split off, stratified by label,"
        f" duplicate texts on one side (data.validation_size: {spec.validation_size:g}, seed {seed})"
    )
    if division.lone:
        lone = [names[label] for label in division.lone]
        notes.append(f"labels with one text only, which stays in training: {shortened(lone)}")
    origin = f"split from {train.source}"
    return {
        "train": Split("train", train.table.filter(booleans(~mask)), train.source),
        "validation": Split("validation", train.table.filter(booleans(mask)), origin),
    }


def _note_lost(split: Split, smaller: Split, names: Sequence[str], notes: list[str]) -> None:
    if smaller is split:
        return
    lost = sorted(set(np.unique(split.labels).tolist()) - set(np.unique(smaller.labels).tolist()))
    if lost:
        notes.append(f"labels without a {split.name} row after that: {shortened([names[label] for label in lost])}")


def made_up_labelled(spec: LabelledData, *, sentence: str, text: str, label: str) -> dict[str, str]:
    """A row of a text and its label with the columns that a recipe names; the second text of a pair is the sentence."""
    pair = {spec.text_pair_column: f"{sentence}."} if spec.text_pair_column else {}
    return {spec.text_column or "text": text, **pair, spec.label_column or "label": label}
