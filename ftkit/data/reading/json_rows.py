"""JSON lines, and one JSON value as a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.textfile import iter_lines, printable

_ONE_OBJECT = "write one whole JSON object on each line"


class RepeatedKey(Exception):
    """An object has a key twice; Python's json would keep the last in silence."""


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKey(next(key for key in keys if keys.count(key) > 1))
    return values


STRICT_JSON = json.JSONDecoder(object_pairs_hook=_unique_keys)
"""Refuses repeated keys."""


def iter_json_lines(path: Path, *, encoding: str) -> Iterator[Row | BadRow]:
    """Rows of a file with one JSON object a line, in constant memory; blank lines are passed over."""
    # only "\n" ends a JSON line: a bare "\r" is white space inside it
    for number, line, bad in iter_lines(path, encoding=encoding, newline="\n"):
        if not line.isspace():
            yield bad or _parse_line(number, line)


def _parse_line(number: int, line: str) -> Row | BadRow:
    try:
        value = STRICT_JSON.decode(line)
    except RepeatedKey as error:
        return repeated_key(number, error)
    except json.JSONDecodeError as error:
        # the decoder blames the opening quote of a text that the end of the line cuts off
        if error.pos >= len(line.rstrip()) or "Unterminated" in error.msg:
            return BadRow(number, "broken JSON: the line ends in the middle of an object", _ONE_OBJECT)
        return BadRow(number, f"broken JSON at column {error.colno}: {error.msg}", _ONE_OBJECT)
    except (ValueError, RecursionError) as error:
        return BadRow(number, f"JSON that cannot be read: {error}", _ONE_OBJECT)
    return as_row(number, value, line)


def repeated_key(line: int, error: RepeatedKey) -> BadRow:
    """The bad row of an object that has a key twice."""
    return BadRow(line, f"the key {printable(str(error))} occurs twice", "keep one")


def as_row(line: int, value: object, raw: str) -> Row | BadRow:
    """A decoded JSON value as a row; its raw text is looked at for escapes that hide characters no text can hold."""
    if not isinstance(value, dict):
        return BadRow(line, f"{kind_of(value)} instead of an object", 'write {"text": ..., "label": ...}')
    if "\\ud" in raw or "\\uD" in raw or "\\u0000" in raw:
        text = "".join(_strings(value))
        if not encodable(text):
            return BadRow(line, "a \\ud8.. escape without its second half", "write the character itself or both halves")
        if "\0" in text:
            return BadRow(line, "a NUL character", "remove it")
    return Row(line, value)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        # a blank keeps the halves of two texts from making a whole
        yield value + " "
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def encodable(text: str) -> bool:
    """Whether a string is Unicode text: half a surrogate pair is not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(value: object) -> str:
    """What a value is, in words: `a string`, `null`, `the number 5`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    names: dict[type, str] = {str: "a string", list: "a list", dict: "an object", bytes: "bytes"}
    return names.get(type(value), f"a value of type {type(value).__name__}")
