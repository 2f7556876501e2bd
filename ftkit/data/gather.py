"""Rows of one file to a table of texts and labels, with every broken row accounted for."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ftkit.data.dataset import BATCH_CHARACTERS, BATCH_ROWS, SkippedRow, integers, strings
from ftkit.data.labels import Seen, spelling, unknown
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.reading.rows import BadRow, Row
from ftkit.errors import UserError

_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """Where the rows of one split are.

    Attributes:
        split: train, validation or test.
        name: path or name for messages; a bad row is reported as `name:line`.
        rows: opens it and reads it from the start.
        class_names: column -> names of its classes, where the source knows them.
    """

    split: str
    name: str
    rows: Callable[[], Iterable[Row | BadRow]]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """Names of the columns to read; `pair` is None for tasks on single texts."""

    text: str
    label: str
    pair: str | None = None


@dataclass
class UsableRows:
    """The usable rows of a source, and the others.

    Attributes:
        source: where they came from.
        texts: the columns text and text_pair, in batches.
        codes: one a row: index into `seen`, in the order of first occurrence.
        seen: label as spelt -> first line and count.
        missing: how many rows are not usable because they have no label.
        bad: the rows that are not usable, for whatever reason.
    """

    source: Source
    texts: list[pa.RecordBatch]
    codes: array[int]
    seen: dict[str, Seen]
    missing: int
    bad: list[BadRow]

    def table(self, names: Sequence[str], schema: pa.Schema) -> pa.Table:
        """The rows, with labels as indices (int32) into `names`."""
        index = {name: number for number, name in enumerate(names)}
        order = np.asarray([index[name] for name in self.seen], dtype=np.int32)
        labels = order[np.frombuffer(self.codes, dtype=np.int32)] if self.codes else order[:0]
        return pa.Table.from_batches(self.texts, schema=schema).append_column("label", integers(labels))


def text_schema(columns: Columns) -> pa.Schema:
    """Columns of the texts."""
    names = ["text"] if columns.pair is None else ["text", "text_pair"]
    return pa.schema([(name, pa.string()) for name in names])


def gather(source: Source, columns: Columns, *, names: Sequence[str] | None, stated: bool) -> UsableRows:
    """Read a source to its end, once, holding the texts and nothing else of a row.

    Args:
        source: what to read.
        columns: which columns to read.
        names: the labels that are allowed; None: any.
        stated: whether those come from data.label_names (for messages).
    """
    checker = _Checker(columns, source.class_names.get(columns.label), names, stated)
    batches: list[pa.RecordBatch] = []
    codes = array("i")
    index: dict[str, int] = {}
    lines: list[int] = []
    bad: list[BadRow] = []
    schema = text_schema(columns)
    for texts in _batches(source, checker, codes, index, lines, bad):
        batches.append(pa.RecordBatch.from_arrays([strings(column) for column in texts], schema=schema))
    counts = np.bincount(np.asarray(codes, dtype=np.int32), minlength=len(index))
    seen = {name: Seen(lines[code], int(counts[code])) for name, code in index.items()}
    return UsableRows(source, batches, codes, seen, checker.missing, bad)


def _batches(
    source: Source, checker: _Checker, codes: array[int], index: dict[str, int], lines: list[int], bad: list[BadRow]
) -> Iterator[list[list[str]]]:
    columns: list[list[str]] = [[] for _ in checker.columns]
    size = 0
    for row in source.rows():
        checked = row if isinstance(row, BadRow) else checker.check(row)
        if isinstance(checked, BadRow):
            bad.append(checked)
            continue
        label, texts = checked
        code = index.setdefault(label, len(index))
        if code == len(lines):
            lines.append(row.line)
        codes.append(code)
        for column, text in zip(columns, texts, strict=True):
            column.append(text)
            size += len(text)
        # a batch of pa.string() holds at most 2 GiB, so very long texts make smaller batches
        if len(columns[0]) == BATCH_ROWS or size > BATCH_CHARACTERS:
            yield columns
            columns, size = [[] for _ in checker.columns], 0
    if columns[0]:
        yield columns


class _Checker:
    """Checks a row's values. Holds the type of the file's first label: one file, one type."""

    def __init__(
        self, columns: Columns, class_names: Sequence[str] | None, names: Sequence[str] | None, stated: bool
    ) -> None:
        self.columns = [columns.text] if columns.pair is None else [columns.text, columns.pair]
        self.label = columns.label
        self.class_names = class_names
        self.names = names
        self.allowed = None if names is None else frozenset(names)
        self.stated = stated
        self.label_type: type | None = None
        self.missing = 0

    def check(self, row: Row) -> tuple[str, list[str]] | BadRow:
        texts: list[str] = []
        for column in self.columns:
            text = row.values.get(column)
            if not isinstance(text, str):
                return _not_text(row, column, text)
            if not text or text.isspace():
                return BadRow(row.line, f"{column} is empty", "fill it in, or remove the row")
            if "\0" in text:
                return BadRow(row.line, f"{column} holds a NUL character", "remove it")
            texts.append(text)
        return self._check_label(row, texts)

    def _check_label(self, row: Row, texts: list[str]) -> tuple[str, list[str]] | BadRow:
        value = row.values.get(self.label)
        name = spelling(value, self.class_names)
        if not isinstance(name, str):
            self.missing += name[0].startswith("the label is missing")
            absent = self.label not in row.values
            return BadRow(row.line, f"no {self.label} in this row" if absent else name[0], name[1])
        if self.label_type is None:
            self.label_type = type(value)
        elif type(value) is not self.label_type:
            return BadRow(
                row.line,
                f"the label is {kind_of(value)}, while the rows before have {_PLURAL[self.label_type]}",
                "write all labels as strings, or all as integers",
            )
        if self.allowed is not None and name not in self.allowed:
            assert self.names is not None
            return BadRow(row.line, *unknown(name, self.names, stated=self.stated))
        return name, texts


_PLURAL: dict[type, str] = {str: "strings", int: "integers", bool: "true and false"}


def _not_text(row: Row, column: str, value: object) -> BadRow:
    if column not in row.values:
        return BadRow(row.line, f"no {column} in this row", f"add {column}, or remove the row")
    if value is None:
        return BadRow(row.line, f"{column} is null", "fill it in, or remove the row")
    fix = "put it in quotes" if isinstance(value, int | float) else "write one string"
    return BadRow(row.line, f"{column} is {kind_of(value)} instead of a string", fix)


def refuse_bad_rows(source: Source, bad: Sequence[BadRow], *, usable: int) -> None:
    """Raise UserError that shows the first broken rows and says how many there are; nothing when there are none.

    Args:
        source: where they are.
        bad: the broken rows.
        usable: how many others there are.
    """
    if not bad:
        return
    shown = "\n".join(f"  {source.name}:{row.line} {row.reason}; {row.fix}" for row in bad[:_SHOWN])
    more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    # leaving every row out is no way
    remedy = "; mend them, or leave them out with data.on_bad_row: skip" if usable else ""
    raise UserError(
        f"{len(bad):,} of {len(bad) + usable:,} rows cannot be used{remedy}\n{shown}{more}",
        where=source.name,
    )


def told_with(error: UserError, source: Source, bad: BadRow | None) -> UserError:
    """Columns that are not found, with a row that cannot be read: a wrong encoding or delimiter may be why."""
    if bad is None:
        return error
    also = f"also, {source.name}:{bad.line} {bad.reason}; {bad.fix}"
    return UserError(error.problem, where=error.where, fix=f"{error.fix}\n{also}")


def skipped_rows(source: Source, bad: Sequence[BadRow]) -> list[SkippedRow]:
    """The broken rows of a source, to be listed in the run."""
    return [SkippedRow(source.name, row.line, row.reason) for row in bad]


def note_skipped(source: Source, bad: Sequence[BadRow], *, usable: int) -> str:
    """How many rows were left out, for the user."""
    return f"{len(bad):,} of {len(bad) + usable:,} rows of {source.name} left out (data.on_bad_row: skip)"
