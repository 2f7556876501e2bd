"""Text files opened so that a byte of another encoding spoils one row, not the program."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from ftkit.data.reading.packed import open_bytes, packed_mark
from ftkit.data.reading.paths import check_readable, shown_path
from ftkit.data.reading.rows import BadRow
from ftkit.errors import SettingAdvice, UserError

ENCODING = "data.encoding"
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WINDOW = 1 << 16
_CONTROL = bytes(set(range(32)) - set(b"\t\n\f\r"))
_MOST_CONTROL = 0.01
"""Share of control characters above which bytes are no text: texts have next to none, compressed data one in nine."""


def open_text(path: Path, *, encoding: str, newline: str | None) -> TextIO:
    """Open a text file; bytes that are not in its encoding arrive as lone surrogates (PEP 383), see `ByteProblems`.

    The encoding is as Python names it; a byte order mark is dropped.

    Raises:
        UserError: no such file, no such encoding, an empty file, or UTF-16 where an 8-bit encoding was asked for.
    """
    try:
        codec = codecs.lookup(encoding).name
        # codecs of bytes or of strings (base64, rot13) are looked up, and refused, elsewhere
        "".encode(codec)
    except (LookupError, UnicodeError):
        raise UserError(
            f"no such encoding: {encoding}",
            where=shown_path(path),
            fix=SettingAdvice("{} takes Python's names: utf-8, cp1252, latin-1, utf-16", ENCODING),
        ) from None
    check_readable(path)
    with open_bytes(path) as file:
        start = file.read(4)
    if (packed := packed_mark(start)) is not None:
        raise UserError(
            f"its first bytes are those of a {packed} file",
            where=shown_path(path),
            fix=f"name it {path.name}{packed}; a spreadsheet is read as .xlsx or .ods",
        )
    if not start:
        raise UserError("the file is empty", where=shown_path(path), fix="write the rows again or name another file")
    wide = codec.startswith(("utf-16", "utf-32"))
    if start.startswith(_UTF16_MARKS) and not wide:
        raise UserError(
            f"the file begins with a UTF-16 byte order mark, not {encoding}",
            where=f"{shown_path(path)}:1",
            fix=SettingAdvice("set {}", ENCODING, "utf-16"),
        )
    return TextIOWrapper(
        open_bytes(path),
        encoding="utf-8-sig" if codec == "utf-8" else codec,
        errors="strict" if wide else "surrogateescape",
        newline=newline,
    )


def printable(text: str) -> str:
    """A piece of a file for a message: what no encoding can write is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


class ByteProblems:
    """Describes the undecodable bytes of one file; only the first costs a second look at the file."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.path = path
        self.encoding = encoding
        self._fix: str | None = None

    def check(self, line: int, text: str) -> BadRow | None:
        """None when `text` (the raw line or record) is clean, else what is wrong with it.

        A NUL is refused although UTF-8 has it: in a text it is a sign of UTF-16 or of a damaged file, and tokenizers
        drop it silently.
        """
        if not text.isascii() and (found := _ESCAPED_BYTE.search(text)):
            return self._undecodable(line, ord(found[0]) - 0xDC00)
        if "\0" in text:
            advice = SettingAdvice("remove it; a file full of them is UTF-16: set {}", ENCODING, "utf-16-le")
            return BadRow(line, "a NUL byte", advice)
        return None

    def _undecodable(self, line: int, byte: int) -> BadRow:
        reason = f"byte 0x{byte:02x} is not {self.encoding}"
        if self._fix is None:
            offset, self._fix = _explain(self.path, self.encoding)
            reason = f"byte 0x{byte:02x} at offset {offset} of the file is not {self.encoding}"
        return BadRow(line, reason, self._fix)

    def fatal(self, line: int, error: UnicodeError) -> UserError:
        """For encodings of two and four bytes, where nothing after the fault can be read."""
        reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        return UserError(
            f"the bytes after this line are not {self.encoding}: {reason}",
            where=f"{shown_path(self.path)}:{line}",
            fix=SettingAdvice("set {} to the file's own, or write the file again as UTF-8", ENCODING),
        )


def iter_lines(path: Path, *, encoding: str, newline: str | None) -> Iterator[tuple[int, str, BadRow | None]]:
    """The number of each line of a text file, from 1, the line, and what is wrong with its bytes."""
    problems = ByteProblems(path, encoding)
    number = 0
    # not str.splitlines, which also breaks at form feeds and at U+2028
    with open_text(path, encoding=encoding, newline=newline) as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, line, problems.check(number, line)
        except UnicodeError as error:
            raise problems.fatal(number + 1, error) from None


def _explain(path: Path, encoding: str) -> tuple[int, str]:
    """Byte offset of the first undecodable byte, and what to do about it."""
    offset = 0
    with open_bytes(path) as file:
        for raw in file:
            try:
                raw.decode(encoding)
            except UnicodeDecodeError as error:
                offset += error.start
                break
            offset += len(raw)
    with open_bytes(path) as file:
        # what is unpacked on the way has no places to go to
        for _ in range(max(0, offset // _WINDOW - 1)):
            file.read(_WINDOW)
        around = file.read(3 * _WINDOW)
    return offset, _advice(around, encoding)


def _advice(around: bytes, encoding: str) -> str:
    text = around.decode(encoding, "surrogateescape")
    num_broken = len(_ESCAPED_BYTE.findall(text))
    num_sound = sum(not char.isascii() for char in text) - num_broken
    if num_sound > num_broken:
        return f"the text around it is {encoding}, so this row is damaged: write it again or remove it"
    if len(around) - len(around.translate(None, _CONTROL)) > _MOST_CONTROL * len(around):
        return "this is no text: a file of another kind under this name, or UTF-16 without its mark"
    try:
        around.decode("cp1252")
    except UnicodeDecodeError:
        return SettingAdvice("{} would read it; look whether the texts are right then", ENCODING, "latin-1")
    return SettingAdvice("{} would fit", ENCODING, "cp1252")
