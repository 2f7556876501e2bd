"""Spreadsheets (Excel, OpenDocument), by python-calamine."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftkit.data.reading.delimited import checked_header
from ftkit.data.reading.packed import refuse_swollen
from ftkit.data.reading.paths import check_readable, shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.tables.choosing import chosen_table
from ftkit.errors import UserError


def iter_sheet(path: Path, *, table: str | None) -> Iterator[Row | BadRow]:
    """Rows of a sheet whose first row that is not blank names the columns; `line` is the sheet's own, from 1.

    Texts stay texts, also "NA" and "007"; a number without a fraction is an integer, as a sheet has no others; dates
    are ISO 8601. Blank rows are passed over; hidden sheets are read when they are named.

    Raises:
        UserError: python-calamine is not installed, no workbook, or several sheets with rows and none is named.
    """
    book = _open(path)
    sheet = book.get_sheet_by_name(chosen_table(_sheets(book), table, path=path, kind="sheet"))
    header: list[str] | None = None
    first_line = (sheet.start or (0, 0))[0] + 1
    for line, cells in enumerate(sheet.iter_rows(), first_line):
        values = [_value(cell) for cell in cells]
        if all(value == "" for value in values):
            continue
        if header is None:
            while values[-1] == "":
                values.pop()
            header = checked_header([str(value) for value in values], where=f"{shown_path(path)}:{line}", delimiter=",")
        elif any(value != "" for value in values[len(header) :]):
            yield BadRow(line, "a cell without a column name above it", "name the column in the first row")
        else:
            yield Row(line, dict(zip(header, values, strict=False)))


def _open(path: Path) -> Any:
    check_readable(path)
    try:
        import python_calamine as calamine
    except ImportError:
        problem = "a spreadsheet is read by the package python-calamine, which is not installed"
        raise UserError(problem, where=shown_path(path), fix="pip install 'ftkit[excel]'") from None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            refuse_swollen(path, sum(entry.file_size for entry in archive.infolist()))
    try:
        return calamine.CalamineWorkbook.from_path(str(path))
    except calamine.PasswordError as error:
        raise UserError("it has a password", where=shown_path(path), fix="save it without one") from error
    except (calamine.CalamineError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"not a whole {path.suffix} file: {reason}", where=shown_path(path), fix="save it again"
        ) from error


def _sheets(book: Any) -> dict[str, bool]:
    """Name of each sheet -> whether it can be meant where none is named: it can be seen, and is not empty."""
    return {
        sheet.name: str(sheet.visible).endswith(".Visible") and book.get_sheet_by_name(sheet.name).height > 0
        for sheet in book.sheets_metadata
        if str(sheet.typ).endswith(".WorkSheet")
    }


def _value(cell: object) -> object:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell.isoformat() if isinstance(cell, datetime.date | datetime.time) else cell
