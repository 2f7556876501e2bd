"""A row of a data file, or the reason why it is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        line: line of the file on which the row starts, from 1; for Parquet, Arrow and hub data its row number, from 1.
        values: column name -> value: strings for CSV, TSV and text, JSON's types for JSON, Python's for the others.
    """

    line: int
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that cannot be read.

    Attributes:
        line: as in Row.
        reason: what is wrong with it.
        fix: what to do about it.
    """

    line: int
    reason: str
    fix: str
