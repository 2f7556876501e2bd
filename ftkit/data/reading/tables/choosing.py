"""The table of a file that may have several: a sheet of a workbook, a table of a database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ftkit.data.columns.names import listing
from ftkit.data.reading.paths import shown_path
from ftkit.errors import SettingAdvice, UserError
from ftkit.recipe.nearest import nearest


def chosen_table(tables: Mapping[str, bool], wanted: str | None, *, path: Path, kind: str) -> str:
    """The table that is meant: the one that is named, else the only one.

    Args:
        tables: name -> whether it can be meant where none is named.
        wanted: data.table.
        path: the file, for messages.
        kind: what its tables are called.

    Raises:
        UserError: there is none of that name, or more or less than one.
    """
    if wanted is not None and wanted in tables:
        return wanted
    there = [name for name, is_meant in tables.items() if is_meant]
    listed = f"{kind}s here: {listing(list(tables)) or '(none)'}"
    if wanted is not None:
        near = nearest(wanted, list(tables))
        raise UserError(
            f"no {kind} {wanted} (data.table)", where=shown_path(path), fix=f"did you mean {near}?" if near else listed
        )
    if len(there) != 1:
        problem = f"it has {len(there)} {kind}s with rows" if there else f"it has no {kind} with rows"
        raise UserError(problem, where=shown_path(path), fix=SettingAdvice("name one in {}; " + listed, "data.table"))
    return there[0]
