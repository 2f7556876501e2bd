"""Rows of a file of any format, streaming, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftkit.data.reading.arrow_rows import iter_arrow, iter_parquet
from ftkit.data.reading.delimited import iter_delimited
from ftkit.data.reading.folders.classes import class_folders, iter_class_folder
from ftkit.data.reading.json_array import iter_json
from ftkit.data.reading.json_frame import iter_frame
from ftkit.data.reading.json_rows import iter_json_lines
from ftkit.data.reading.packed import inner_ending
from ftkit.data.reading.paths import check_readable, shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.tables.sheets import iter_sheet
from ftkit.data.reading.tables.sqlite import iter_sqlite
from ftkit.data.reading.textfile import iter_lines
from ftkit.errors import SettingAdvice, UserError
from ftkit.recipe.files import PACKINGS, are_classes

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "sheet"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "sqlite"),
}
"""File name ending -> format."""


def iter_rows(
    path: Path,
    *,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quotes: bool = True,
    table: str | None = None,
) -> Iterator[Row | BadRow]:
    """Read a file row by row, in constant memory, in the order of the file; BadRow is one that cannot be read.

    The file is CSV or TSV with a header line, JSON (an array of objects, or a table of pandas), JSON lines, Parquet,
    Arrow, or .txt (one column `text`, one row a line, blank lines included); text formats also compressed (.gz, .bz2,
    .xz, .zst, or a .zip of one file). A folder has a sub-folder a class, with a text a file (columns `text`, `label`,
    `file`). The default delimiter is a comma, or a tab for .tsv; without `quotes` a double quote is a letter. `table`
    is a sheet of a spreadsheet, or a table or a query of a SQLite database; it may be left out where there is but one.

    Raises:
        UserError: the file as a whole cannot be read: absent, empty, of an unknown format, without a usable header.
    """
    kind = file_format(path)
    if kind in _TABLED:
        return _TABLED[kind](path, table=table)
    if table is not None:
        advice = SettingAdvice("leave {} out", "data.table")
        raise UserError("only spreadsheets and databases have tables", where=shown_path(path), fix=advice)
    if kind in ("csv", "tsv"):
        separator = delimiter or {"csv": ",", "tsv": "\t"}[kind]
        return iter_delimited(path, encoding=encoding, delimiter=separator, quotes=quotes)
    if kind in _COLUMNAR:
        return _COLUMNAR[kind](path)
    framed = iter_frame(path, encoding=encoding) if kind in ("json", "jsonl") else None
    return framed or _TEXTUAL[kind](path, encoding=encoding)


def file_format(path: Path) -> str:
    """The format that a file's name says, or the name of what is in a zip: a value of FORMATS, or `folder`.

    Raises:
        UserError: no such file, or a name with another ending.
    """
    suffix = inner_ending(path)
    if path.is_dir() and are_classes(folder.name for folder in class_folders(path)):
        return "folder"
    kind = None if path.is_dir() else FORMATS.get(suffix)
    if kind in (*_COLUMNAR, *_TABLED) and path.suffix.lower() in PACKINGS:
        problem = f"a {suffix} file in a {path.suffix} file, which cannot be read from its start to its end"
        raise UserError(problem, where=shown_path(path), fix="unpack it and name the file")
    if kind is not None:
        return kind
    check_readable(path)
    fix = f"write it as one of {', '.join(FORMATS)}; text formats may be packed, as {', '.join(PACKINGS)}"
    raise UserError(f"no format is known by the ending {suffix or '(none)'}", where=shown_path(path), fix=fix)


def _iter_text(path: Path, *, encoding: str) -> Iterator[Row | BadRow]:
    for number, line, bad in iter_lines(path, encoding=encoding, newline=None):
        yield bad or Row(number, {"text": line.removesuffix("\n")})


_COLUMNAR = {"parquet": iter_parquet, "arrow": iter_arrow}
_TABLED = {"sheet": iter_sheet, "sqlite": iter_sqlite}
_TEXTUAL = {"folder": iter_class_folder, "json": iter_json, "jsonl": iter_json_lines, "text": _iter_text}
