"""Rows of one file to batches of texts, with every broken row accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ftkit.data.dataset import BATCH_CHARACTERS, BATCH_ROWS, LINE_COLUMN, SkippedRow, integers, strings
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError
from ftkit.interruption import STOP
from ftkit.recipe.data_section import DataSpec

Record = tuple[str, ...]
"""The texts of a row, one for each column of a table."""
_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """Where the rows of one split (train, validation or test) are.

    Attributes:
        name: path or name for messages; a bad row is reported as `name:line`.
        rows: opens it and reads it from the start.
        class_names: column -> names of its classes, where the source knows them.
        called: what the split is called in its data set; None where files are named.
    """

    split: str
    name: str
    rows: Callable[[], Iterable[Row | BadRow]]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    called: str | None = None

    def may_lack_answers(self, spec: DataSpec) -> bool:
        """Whether nobody asked for this test split: the answers of a public one are often kept back."""
        return self.split == "test" and spec.dataset_name is not None and spec.test_split is None


@dataclass
class UsableRows:
    """What was read of a source: the usable rows in batches, the others, and how many texts were blank.

    Attributes:
        schema: of the batches: the texts of a row, and its line.
        swallowing: lines of rows of which a quoted field holds what may be other rows.
    """

    source: Source
    schema: pa.Schema
    batches: list[pa.RecordBatch]
    bad: list[BadRow]
    num_rows: int = 0
    num_blank: int = 0
    swallowing: list[int] = field(default_factory=list)

    def table(self) -> pa.Table:
        """The usable rows, with their lines."""
        return pa.Table.from_batches(self.batches, schema=self.schema)

    def refuse_bad(self, spec: DataSpec) -> None:
        """Raise UserError that shows the first broken rows, where there are any and they may not be left out."""
        if spec.on_bad_row == "error" or not self.num_rows:
            refuse_bad_rows(self.source, self.bad, usable=self.num_rows)

    def skipped(self) -> list[SkippedRow]:
        """The broken rows, to be listed in the run."""
        return [SkippedRow(self.source.name, row.line, row.reason) for row in self.bad]

    def note_skipped(self, notes: list[str]) -> None:
        """Add how many rows were left out, and in how many quotes may be out of place, for the user."""
        if self.swallowing:
            notes.append(
                f"warning: in {len(self.swallowing):,} rows of {self.source.name} (the first in line"
                f" {self.swallowing[0]}) a quoted text runs over line ends and holds as many delimiters as a row: are"
                " quotes out of place? data.quoting: none reads them as letters"
            )
        if self.bad:
            total = len(self.bad) + self.num_rows
            notes.append(f"{len(self.bad):,} of {total:,} rows of {self.source.name} left out (data.on_bad_row: skip)")


def gather(source: Source, record: Callable[[Row], Record | None], schema: pa.Schema) -> UsableRows:
    """Read a source to its end, once, holding the texts of a row and its line, and nothing else.

    `record` gives the texts of a row, None for a text that is blank, and raises Unusable for a row that is no good.
    """
    gathered = UsableRows(source, schema.append(pa.field(LINE_COLUMN, pa.int32())), [], [])
    records: list[Record] = []
    lines: list[int] = []
    size = 0
    for row in source.rows():
        STOP.poll()
        if isinstance(row, BadRow):
            gathered.bad.append(row)
            continue
        if row.swallows:
            gathered.swallowing.append(row.line)
        try:
            texts = record(row)
        except Unusable as error:
            gathered.bad.append(BadRow(row.line, error.reason, error.fix))
            continue
        if texts is None:
            gathered.num_blank += 1
            continue
        records.append(texts)
        lines.append(row.line)
        size += sum(map(len, texts))
        # a batch of pa.string() holds at most 2 GiB, so very long texts make smaller batches
        if len(records) == BATCH_ROWS or size > BATCH_CHARACTERS:
            _close_batch(gathered, records, lines)
            size = 0
    if records:
        _close_batch(gathered, records, lines)
    return gathered


def _close_batch(gathered: UsableRows, records: list[Record], lines: list[int]) -> None:
    columns = [*(strings(texts) for texts in zip(*records, strict=True)), integers(np.asarray(lines))]
    gathered.batches.append(pa.RecordBatch.from_arrays(columns, schema=gathered.schema))
    gathered.num_rows += len(records)
    records.clear()
    lines.clear()


def refuse_bad_rows(source: Source, bad: Sequence[BadRow], *, usable: int) -> None:
    """Raise UserError that shows the first broken rows and says how many there are, and how many others are usable."""
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
