"""A few rows of any data, for a trial: the first thousands are read and checked, a few of each label are kept."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ftkit.data.columns.labelled import guess_columns
from ftkit.data.columns.names import SAMPLE_ROWS
from ftkit.data.dataset import Split, Splits, booleans
from ftkit.data.gather import Source
from ftkit.data.reading.rows import BadRow, Row
from ftkit.recipe.schema import DataSpec

ROWS_READ = 10_000
"""Rows of each file that are read and checked in full."""
ROWS_FOR_LABELS = 1_000_000
"""Rows of a training file that are searched for labels which its first rows do not have; a second and a half of CSV."""
ROWS_OF_LABEL = 8
"""A label is searched for until there are so many rows of it: enough to split some off."""
CHARACTERS_KEPT = 20_000
"""More than any stand-in model reads; a text of megabytes would take its tokenizer seconds."""


class FirstRows:
    """Makes sources that end after their first rows; broken rows among those keep their place and their message.

    A training file sorted by label begins with one label only. So behind its first rows those with a label that has
    hardly occurred yet are read too.

    Args:
        spec: what is read; a validation set of so many rows needs more rows to be split off from.
        labelled: whether the rows have labels to be searched for.

    Attributes:
        limit: rows of each source that are read in full.
        cut: names of the sources that have more rows.
    """

    def __init__(self, spec: DataSpec, *, labelled: bool = True) -> None:
        self.spec = spec
        self.labelled = labelled
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
        if not self.labelled:
            return None
        return guess_columns(
            [row.values for row in sample if isinstance(row, Row)],
            text_column=self.spec.text_column,
            text_pair_column=self.spec.text_pair_column,
            label_column=self.spec.label_column,
        ).label


def few_rows(splits: Splits, *, train: int, evaluation: int) -> Splits:
    """The first rows (of each label, where there are labels), in their order, long texts cut short.

    Args:
        splits: any data.
        train: training rows to keep, more when there are more labels than that: each keeps a row.
        evaluation: validation and test rows to keep, in the same way.
    """
    return replace(
        splits,
        train=_few(splits.train, train),
        validation=_few(splits.validation, evaluation),
        test=None if splits.test is None else _few(splits.test, evaluation),
    )


def _few(split: Split, wanted: int) -> Split:
    table = _first_of_labels(split, wanted) if "label" in split.table.column_names else split.table.slice(0, wanted)
    # chats and references are JSON, which cannot be cut anywhere
    for index, name in enumerate(table.column_names):
        if name not in ("label", "messages", "references"):
            table = table.set_column(index, name, pc.utf8_slice_codeunits(table[name], 0, CHARACTERS_KEPT))
    return Split(split.name, table, split.source)


def _first_of_labels(split: Split, wanted: int) -> pa.Table:
    labels = split.labels
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    each = max(1, wanted // max(1, len(np.unique(labels))))
    return split.table.filter(booleans(rank < each))
