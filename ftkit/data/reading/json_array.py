"""A .json file: an array of objects, read in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ftkit.data.reading.json_rows import STRICT_JSON, RepeatedKey, as_row, iter_json_lines, repeated_key
from ftkit.data.reading.paths import shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.textfile import ByteProblems, open_text, printable
from ftkit.errors import UserError

_CHUNK = 1 << 18
_SPACE = re.compile(r"[ \t\r\n]*")
_WRAPPED = re.compile(r'\{\s*"([^"]*)"\s*:\s*\[\s*\{')
_ROWS = '[{"text": ..., "label": ...}, ...]'


def iter_json(path: Path, *, encoding: str) -> Iterator[Row | BadRow]:
    """Rows of a .json file: an array of objects, or (what many tools write under that name) an object a line.

    An array is read in pieces, so that memory holds a quarter of a megabyte or the largest object, whichever is more.

    Raises:
        UserError: neither of the two, or an array that is broken (what follows the fault cannot be told apart).
    """
    with open_text(path, encoding=encoding, newline="\n") as file:
        try:
            first = file.read(_CHUNK).lstrip()
        except UnicodeError as error:
            raise ByteProblems(path, encoding).fatal(1, error) from None
    if not first:
        raise UserError(
            "the file holds white space only", where=shown_path(path), fix="write the rows again or name another file"
        )
    if first[0] == "[":
        return iter_array(path, encoding=encoding)
    if first[0] != "{":
        raise UserError(
            "neither a JSON array nor JSON objects",
            where=f"{shown_path(path)}:1",
            fix=f"write {_ROWS}",
        )
    _refuse_wrapped(path, first)
    return iter_json_lines(path, encoding=encoding)


def _refuse_wrapped(path: Path, first: str) -> None:
    """Explain an object that wraps the rows; pass over anything that may be one object a line."""
    key = None
    try:
        value, end = json.JSONDecoder().raw_decode(first)
    except ValueError:
        match = _WRAPPED.match(first)
        key = match[1] if match else None
    else:
        if first[end:].strip():
            return
        key = next((name for name, inner in value.items() if isinstance(inner, list)), None)
    if key is not None:
        raise UserError(
            f"one object with a list under the key {printable(key)}, where rows were expected",
            where=f"{shown_path(path)}:1",
            fix=f"keep only an array of rows, {_ROWS}, or write one object on each line",
        )


def iter_array(path: Path, *, encoding: str) -> Iterator[Row | BadRow]:
    """Rows of a JSON array of objects; line is where the object starts."""
    bytes_ = ByteProblems(path, encoding)
    with open_text(path, encoding=encoding, newline="\n") as file:
        window = _Window(bytes_, file)
        try:
            window.expect("[")
            if window.peek() == "]":
                raise UserError(
                    "the array is empty", where=shown_path(path), fix="write rows into it or name another file"
                )
            while True:
                line, value, raw = window.value()
                if (dirt := bytes_.check(line, raw)) is not None:
                    yield dirt
                else:
                    yield repeated_key(line, value) if isinstance(value, RepeatedKey) else as_row(line, value, raw)
                if window.expect(",]") == "]":
                    break
            if window.peek():
                raise window.broken("something follows the end of the array")
        except UnicodeError as error:
            raise bytes_.fatal(window.line, error) from None


class _Window:
    """The part of the file that is in memory, and the place in it."""

    def __init__(self, bytes_: ByteProblems, file: TextIO) -> None:
        self.bytes = bytes_
        self.file = file
        self.text = ""
        self.at = 0
        self.line = 1
        self.ended = False

    def _advance(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def _fill(self) -> None:
        # twice what is there already: an object of n characters is then parsed in a time linear in n
        self.text = self.text[self.at :]
        self.at = 0
        piece = self.file.read(max(_CHUNK, len(self.text)))
        self.text += piece
        self.ended = not piece

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self.text, self.at)
            assert match is not None
            self._advance(match.end())
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._fill()

    def expect(self, characters: str) -> str:
        found = self.peek()
        if not found or found not in characters:
            wanted = " or ".join(characters)
            raise self.broken(
                f"{found} where {wanted} should be" if found else f"the file ends where {wanted} should be"
            )
        self._advance(self.at + 1)
        return found

    def value(self) -> tuple[int, object, str]:
        """The line, the value and the raw text of the next element."""
        self.peek()
        while True:
            value: object
            try:
                value, end = STRICT_JSON.raw_decode(self.text, self.at)
            except RepeatedKey as error:
                value, end = error, json.JSONDecoder().raw_decode(self.text, self.at)[1]
            except json.JSONDecodeError as error:
                if not self._may_go_on(error):
                    self._advance(error.pos)
                    raise self.broken(error.msg) from None
                self._fill()
                continue
            except (ValueError, RecursionError) as error:
                raise self.broken(str(error)) from None
            # a number at the very end of the window may have more digits
            if end == len(self.text) and not self.ended:
                self._fill()
                continue
            line, raw = self.line, self.text[self.at : end]
            self._advance(end)
            return line, value, raw

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        if self.ended:
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self.text) - 32

    def broken(self, reason: str) -> UserError:
        where = f"{shown_path(self.bytes.path)}:{self.line}"
        # a byte of another encoding between two values, rather than inside one
        if (dirt := self.bytes.check(self.line, self.text[self.at : self.at + 1])) is not None:
            return UserError(dirt.reason, where=where, fix=dirt.fix)
        fix = "mend it there; or write one object on each line, where a broken row spoils no other"
        return UserError(f"broken JSON: {reason}", where=where, fix=fix)
