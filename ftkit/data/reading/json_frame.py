"""A table as pandas writes it by default: one JSON object of columns, of rows by their label, or split into parts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftkit.data.reading.json_rows import STRICT_JSON, RepeatedKey, as_row
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.textfile import ByteProblems, open_text

_BEGINS = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*[\[{]')
_START = 1 << 12


def iter_frame(path: Path, *, encoding: str) -> Iterator[Row | BadRow] | None:
    """Rows of what `DataFrame.to_json` wrote in the orientation columns, index, split or table; else None.

    `line` is the row's number, from 1. The whole file is held in memory. pandas' own reader is not asked: it makes
    1.0 of a 1 beside a null, refuses integers above 64 bits, and does not tell the orientation.

    Raises:
        UserError: no such file, no such encoding, or an empty file.
    """
    try:
        with open_text(path, encoding=encoding, newline="\n") as file:
            if not _BEGINS.match(file.read(_START)):
                return None
        with open_text(path, encoding=encoding, newline="\n") as file:
            text = file.readline()
            if not _is_json(text):
                text += file.read()
            elif any(line.strip() for line in file):
                # an object a line
                return None
            rows = _rows_of(STRICT_JSON.decode(text))
    except (ValueError, RecursionError, RepeatedKey):
        # told by who reads it as anything else
        return None
    if rows is None:
        return None
    escapes = text if "\\ud" in text or "\\uD" in text or "\\u0000" in text else ""
    problems = ByteProblems(path, encoding)
    return (_row(number, row, escapes, problems) for number, row in enumerate(rows, 1))


def _row(number: int, row: object, escapes: str, problems: ByteProblems) -> Row | BadRow:
    found = as_row(number, row, escapes)
    # what is written of the row here has its bytes, not its escapes
    dirt = problems.check(number, json.dumps(row, ensure_ascii=False)) if isinstance(found, Row) else None
    return dirt or found


def _is_json(line: str) -> bool:
    try:
        STRICT_JSON.decode(line)
    except ValueError:
        return False
    return True


def _rows_of(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    if value.keys() == {"schema", "data"}:
        return list(value["data"])
    if value.keys() == {"columns", "index", "data"} and all(isinstance(part, list) for part in value.values()):
        return [dict(zip(value["columns"], row, strict=True)) for row in value["data"]]
    inner = [part.keys() for part in value.values() if isinstance(part, dict) and part]
    if len(inner) < len(value) or any(keys != inner[0] for keys in inner):
        return None
    if _are_numbers(inner[0]) and not _are_numbers(value):
        return [{column: part[label] for column, part in value.items()} for label in inner[0]]
    if _are_numbers(value) and not _are_numbers(inner[0]):
        return list(value.values())
    return None


def _are_numbers(labels: Collection[str]) -> bool:
    return all(label.isdecimal() for label in labels)
