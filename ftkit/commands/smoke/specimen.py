"""Rows for a trial: a few of each label of any data, of which the first thousands are read, or made-up ones."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ftkit.data.columns.labelled import guess_columns
from ftkit.data.columns.names import SAMPLE_ROWS
from ftkit.data.dataset import ABOUT_ROWS, Split, Splits, booleans
from ftkit.data.folds import folded
from ftkit.data.gather import Source
from ftkit.data.labels import shortened
from ftkit.data.reading.rows import BadRow, Row
from ftkit.errors import UserError
from ftkit.models.checkpoint import Checkpoint
from ftkit.progress import Reporter
from ftkit.recipe.data_section import DataSpec
from ftkit.recipe.labelled import LabelledData
from ftkit.recipe.schema import Recipe
from ftkit.tasks.table import task_of

TRAIN_ROWS, EVALUATION_ROWS = 48, 24
ROWS_READ = 10_000
"""Rows of each file that are read and checked in full."""
ROWS_FOR_LABELS = 1_000_000
"""Rows of a training file that are searched for labels which its first rows do not have; a second and a half of CSV."""
ROWS_OF_LABEL = 8
"""A label is searched for until there are so many rows of it: enough to split some off."""
CHARACTERS_KEPT = 20_000
"""More than any stand-in model reads; a text of megabytes would take its tokenizer seconds."""
MADE_UP_ROWS = 64
_SUBJECTS = ("the parcel", "my account", "this film", "a question", "the report", "our order", "the answer")
_VERBS = ("came late", "works again", "is hard to read", "was sent twice", "surprised everybody", "costs too much")
_LONG = 40
"""The first text is so many sentences long, so that something has to be cut."""


def take_specimen(recipe: Recipe, checkpoint: Checkpoint, folder: Path, *, reporter: Reporter) -> tuple[Splits, str]:
    """A few rows of a recipe's data, and what they are, in words.

    Args:
        recipe: of a task.
        checkpoint: its base.
        folder: to write made-up rows to, where the data set is not on this machine; does not exist yet.
        reporter: hears the notes of the data.

    Raises:
        UserError: the data cannot be read.
    """
    from ftkit.training.opening import load_data

    spec, missing = _data_spec(recipe, folder)
    first = FirstRows(spec)
    try:
        recipe = recipe.model_copy(update={"data": spec})
        splits = load_data(recipe, task_of(recipe.task), checkpoint, narrow=first)
    except UserError as error:
        if not first.cut:
            raise
        note = f"only the first {first.limit:,} rows of {', '.join(sorted(first.cut))} were looked at"
        raise error.with_advice(note) from error
    for note in splits.notes:
        reporter.say(note)
    few = few_rows(splits, train=TRAIN_ROWS, evaluation=EVALUATION_ROWS)
    return few, _describe(few, splits, first, missing=missing)


def _data_spec(recipe: Recipe, folder: Path) -> tuple[DataSpec, str]:
    """The data to read, and the name of the data set that it was made up for, if any."""
    spec = recipe.data
    name = spec.dataset_name
    if name is None or name.startswith("builtin:") or Path(name).exists():
        return spec, ""
    from ftkit.data.reading.hub import hub_rows

    try:
        hub_rows(name, spec.dataset_config_name)
    except UserError:
        folder.mkdir()
        made_up_row = task_of(recipe.task).made_up_row
        return write_made_up(spec, folder, made_up_row, labels=recipe.labels_named()), name
    return spec, ""


def _describe(few: Splits, splits: Splits, first: FirstRows, *, missing: str) -> str:
    counts = ", ".join(
        f"{len(kept)} of {len(whole):,} {kept.name} rows" for kept, whole in zip(few.all(), splits.all(), strict=True)
    )
    source = f"{missing} is not on this machine, so rows were made up for it" if missing else splits.train.source
    if first.cut:
        source += f" (the first {first.limit:,} rows of {'each file' if len(first.cut) > 1 else 'it'})"
    skipped = f", {len(splits.skipped):,} rows left out (data.on_bad_row: skip)" if splits.skipped else ""
    labels = f"; {len(few.label_names)} labels: {shortened(few.label_names)}" if few.label_names else ""
    return f"{source}: {counts}{skipped}{labels}"


class FirstRows:
    """Makes sources that end after their first rows; broken rows among those keep their place and their message.

    A training file sorted by label begins with one label only. So behind its first rows those with a label that has
    hardly occurred yet are read too.

    Args:
        spec: what is read; a validation set of so many rows needs more rows to be split off from.

    Attributes:
        limit: rows of each source that are read in full.
        cut: names of the sources that have more rows.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec
        self.limit = max(ROWS_READ, 2 * int(spec.validation_size))
        self.cut: set[str] = set()

    def __call__(self, source: Source) -> Source:
        """The same source, cut short."""
        return replace(source, rows=lambda: self._rows(source))

    def _rows(self, source: Source) -> Iterator[Row | BadRow]:
        rows = iter(source.rows())
        sample = list(itertools.islice(rows, SAMPLE_ROWS))
        column = self._label_column(sample)
        found: Counter[str] = Counter()
        for number, row in enumerate(itertools.chain(sample, rows)):
            label = repr(row.values.get(column)) if isinstance(row, Row) and column else ""
            if number < self.limit or (label and found[label] < ROWS_OF_LABEL):
                found[label] += 1
                yield row
            if number == self.limit:
                self.cut.add(source.name)
            if number >= (max(ROWS_FOR_LABELS, self.limit) if source.split == "train" and column else self.limit):
                return

    def _label_column(self, sample: list[Row | BadRow]) -> str | None:
        spec = self.spec
        if not isinstance(spec, LabelledData) or not spec.has_labels():
            return None
        return guess_columns(
            [row.values for row in sample if isinstance(row, Row)],
            text_column=spec.text_column,
            text_pair_column=spec.text_pair_column,
            label_column=spec.label_column,
        ).label


def few_rows(splits: Splits, *, train: int, evaluation: int) -> Splits:
    """The first rows (of each label and source, where there are several), in their order, long texts cut short.

    There are more than `train` and `evaluation` say where there are more of these than that: each keeps a row.
    """
    few = replace(
        splits,
        train=_few(splits.train, train),
        validation=_few(splits.validation, evaluation),
        test=None if splits.test is None else _few(splits.test, evaluation),
    )
    return few if splits.folds is None else folded(few, seed=0)


def _few(split: Split, wanted: int) -> Split:
    several = "label" in split.table.column_names or split.source_names
    table = _first_of_each(split, wanted) if several else split.table.slice(0, wanted)
    # chats and references are JSON, which cannot be cut anywhere
    for index, name in enumerate(table.column_names):
        if name not in ("label", "messages", "references", *ABOUT_ROWS):
            table = table.set_column(index, name, pc.utf8_slice_codeunits(table[name], 0, CHARACTERS_KEPT))
    return split.with_table(table)


def _first_of_each(split: Split, wanted: int) -> pa.Table:
    """The first rows of each label, and of each source."""
    labels = split.strata
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    each = max(1, wanted // max(1, len(np.unique(labels))))
    return split.table.filter(booleans(rank < each))


MadeUpRow = Callable[..., dict[str, Any]]
"""(spec, *, sentence, text, label) -> a row with the columns that a recipe names."""


def write_made_up(spec: DataSpec, folder: Path, made_up_row: MadeUpRow, *, labels: Sequence[str] = ()) -> DataSpec:
    """Write made-up splits into a folder, and describe them.

    Args:
        spec: names a data set; its columns, labels and splits are followed where it names them.
        labels: that examples have, two or more; none where they have none.
    """
    names = list(labels) or [""]
    splits = ["train", "validation", *(["test"] if spec.test_split else [])]
    files = {f"{split}_file": folder / f"{split}.jsonl" for split in splits}
    for shift, file in enumerate(files.values()):
        rows = []
        for index in range(max(MADE_UP_ROWS, 3 * len(names))):
            sentence, label = _sentence(index, shift), names[index % len(names)]
            said = f"{sentence}, said number {index}{f' of {label}' if label else ''}."
            text = " ".join([said] * (_LONG if index == 0 else 1))
            rows.append(made_up_row(spec, sentence=sentence, text=text, label=label))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    changes: dict[str, object] = {key: str(file) for key, file in files.items()}
    return spec.model_copy(update={**changes, "dataset_name": None, "encoding": "utf-8"})


def _sentence(index: int, shift: int) -> str:
    return f"{_SUBJECTS[(index + shift) % len(_SUBJECTS)]} {_VERBS[(index * 5 + shift) % len(_VERBS)]}"
