"""Names of columns and of splits, and what a few values of a column say."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence

from ftkit.errors import UserError

SAMPLE_ROWS = 200
"""Rows at the head of a file by which its columns are told."""


USUAL_NAMES = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""Split -> what it is called elsewhere, the likeliest first."""


def columns_of(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Every column that occurs, in the order of first occurrence."""
    return list(dict.fromkeys(name for row in rows for name in row))


def lowered(columns: Sequence[str]) -> dict[str, str]:
    """Each column by its name in lower case, white space around it left out."""
    return {name.strip().lower(): name for name in columns}


def is_filled(rows: Sequence[Mapping[str, object]], column: str) -> bool:
    """Whether there is anything in a column; an empty text or list is nothing."""
    return any(row.get(column) not in (None, "", [], "[]") for row in rows)


def listing(columns: Sequence[str]) -> str:
    """Columns for a message, at most twenty."""
    shown = ", ".join(columns[:20])
    return f"{shown} and {len(columns) - 20} more" if len(columns) > 20 else shown


def absent(name: str, columns: Sequence[str]) -> str:
    """What to say to somebody who named a column that is not there: those that are, and the nearest."""
    by_lower = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1)
    hint = f"; did you mean {by_lower[near[0]]}?" if near else ""
    return f"columns here: {listing(columns)}{hint}"


def note_unread(columns: Sequence[str], read: Collection[str], notes: list[str]) -> None:
    """Add a note on the columns of which nothing is made.

    Args:
        columns: all that there are, `a.b` for key b of the objects in column a.
        read: those of which examples are made.
        notes: it is added here.
    """
    part_of_read = {name for name in columns if any(f"{other}.".startswith(f"{name}.") for other in read)}
    unread = [
        name
        for name in columns
        if name not in part_of_read
        and not any(name.startswith(f"{other}.") and other not in part_of_read for other in columns)
        and not any(name.startswith(f"{other}.") for other in read)
    ]
    if unread:
        notes.append(f"columns that are not read: {listing(unread)}")


def refuse_absent(name: str | None, columns: Sequence[str], *, where: str, key: str | None = None) -> None:
    """Refuse data without a column that a template or a key of the recipe names.

    Raises:
        UserError: names the column, its key, and the nearest column there is.
    """
    if name is not None and name not in columns:
        said = f" (data.{key})" if key else ""
        raise UserError(f"no such column: {name}{said}", where=where, fix=absent(name, columns))


def is_scalar(value: object) -> bool:
    """Texts and numbers: what a template can be filled with."""
    return isinstance(value, str | int | float)


def mostly(values: Sequence[object], fits: Callable[[object], bool]) -> bool:
    """A few broken rows are for the reading of the data to name, not a reason to miss the column."""
    return bool(values) and sum(map(fits, values)) >= 0.5 * len(values)
