"""A row of a data file, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

ROWS_AT_ONCE = 10_000
"""Rows of a columnar file that are turned into values together."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and the line of the file on which it starts; for Parquet, Arrow and hub data its number; from 1.

    Values are strings for CSV, TSV and text, JSON's types for JSON, Python's for the others. With `swallows` a quoted
    field runs over line ends and holds as many delimiters as a row: quotes may be out of place.
    """

    line: int
    values: dict[str, object]
    swallows: bool = False


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that cannot be read: what is wrong with it, and what to do about it."""

    line: int
    reason: str
    fix: str


def beside(values: Mapping[str, object], taken: Collection[str]) -> dict[str, Any]:
    """The columns of a row to which others are added; one that is called like those gets `input_` before its name.

    Example:
        >>> beside({"id": 1, "label": "x"}, ["label", "score"])
        {'id': 1, 'input_label': 'x'}
    """
    own: dict[str, Any] = {}
    for name, value in values.items():
        renamed = name
        while renamed in taken or (renamed != name and renamed in values):
            renamed = f"input_{renamed}"
        own[renamed] = value
    return own
