"""Rows of a file of any format, streaming, each with its line.

What is read in constant memory: CSV, TSV, JSON lines, JSON arrays, text, Parquet (a batch of rows at a time), Arrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftkit.data.reading.arrow_rows import iter_arrow, iter_parquet
from ftkit.data.reading.delimited import iter_delimited
from ftkit.data.reading.json_array import iter_json
from ftkit.data.reading.json_rows import iter_json_lines
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.textfile import ByteProblems, check_readable, open_text, shown_path
from ftkit.errors import UserError

__all__ = ["FORMATS", "BadRow", "Row", "file_format", "iter_rows"]

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
}
"""File name ending -> format."""
_CONVERT = {
    ".xlsx": "a spreadsheet",
    ".xls": "a spreadsheet",
    ".gz": "compressed",
    ".zip": "compressed",
    ".bz2": "compressed",
}


def iter_rows(path: Path, *, encoding: str = "utf-8", delimiter: str | None = None) -> Iterator[Row | BadRow]:
    """Read a file row by row, in constant memory, in the order of the file.

    Args:
        path: CSV or TSV with a header line, JSON (an array of objects), JSON lines, Parquet, Arrow, or .txt (one
            column `text`, one row a line, blank lines included).
        encoding: of a text file, as Python names it; a byte order mark is dropped.
        delimiter: of a CSV file; default comma, or tab for .tsv.

    Yields:
        Row, or BadRow for one that cannot be read while the ones after it can.

    Raises:
        UserError: the file as a whole cannot be read: absent, empty, of an unknown format, without a usable header.
    """
    kind = file_format(path)
    if kind == "csv":
        rows = iter_delimited(path, encoding=encoding, delimiter=delimiter or ",")
    elif kind == "tsv":
        rows = iter_delimited(path, encoding=encoding, delimiter=delimiter or "\t")
    elif kind == "json":
        rows = iter_json(path, encoding=encoding)
    elif kind == "jsonl":
        rows = iter_json_lines(path, encoding=encoding)
    elif kind == "parquet":
        rows = iter_parquet(path)
    elif kind == "arrow":
        rows = iter_arrow(path)
    else:
        rows = _iter_text(path, encoding)
    return rows


def file_format(path: Path) -> str:
    """The format that a file's name says: a value of FORMATS.

    Raises:
        UserError: no such file, or a name with another ending.
    """
    suffix = path.suffix.lower()
    if suffix in FORMATS and not path.is_dir():
        return FORMATS[suffix]
    check_readable(path)
    what = f"it is {_CONVERT[suffix]}: " if suffix in _CONVERT else ""
    fix = f"{what}write it as one of {', '.join(FORMATS)}"
    raise UserError(f"no format is known by the ending {suffix or '(none)'}", where=shown_path(path), fix=fix)


def _iter_text(path: Path, encoding: str) -> Iterator[Row | BadRow]:
    bytes_ = ByteProblems(path, encoding)
    number = 0
    # not str.splitlines, which also breaks at form feeds and at U+2028
    with open_text(path, encoding=encoding, newline=None) as file:
        try:
            for number, line in enumerate(file, 1):
                text = line.removesuffix("\n")
                yield bytes_.check(number, text) or Row(number, {"text": text})
        except UnicodeError as error:
            raise bytes_.fatal(number + 1, error) from None
