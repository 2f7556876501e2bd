"""A text file as documents: whole, or cut where a separator stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ftkit.data.reading.paths import shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.textfile import ByteProblems, open_text
from ftkit.errors import UserError

MOST_CHARACTERS = 1 << 29
"""Of one document: four bytes each are the 2 GiB that an Arrow string holds."""
_CHUNK_CHARACTERS = 1 << 24


def iter_documents(path: Path, *, encoding: str, separator: str | None) -> Iterator[Row | BadRow]:
    """Documents of a text file, in its order; a separator keeps no more than one of them in memory.

    The line breaks around a separator belong to no document; without one the file is one document, as it stands. A
    row has the column `text` and the line on which its document starts.

    Raises:
        UserError: no such file, an empty file, an unknown encoding, or a document that is too long.
    """
    problems = ByteProblems(path, encoding)
    line = 1
    with open_text(path, encoding=encoding, newline=None) as file:
        try:
            chunks = iter(partial(file.read, _CHUNK_CHARACTERS), "")
            pieces = _cut(chunks, separator) if separator is not None else iter(["".join(chunks)])
            for piece in pieces:
                text = piece if separator is None else piece.strip("\n")
                start = line + (0 if separator is None else len(piece) - len(piece.lstrip("\n")))
                if len(text) > MOST_CHARACTERS:
                    raise _too_long(path, start)
                yield _broken(problems, start, text) or Row(start, {"text": text})
                line += piece.count("\n") + (separator or "").count("\n")
        except UnicodeError as error:
            raise problems.fatal(line, error) from None


def _cut(chunks: Iterable[str], separator: str) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        *pieces, rest = (rest + chunk).split(separator)
        yield from pieces
    yield rest


def _broken(problems: ByteProblems, start: int, text: str) -> BadRow | None:
    if text.isascii() and "\0" not in text:
        return None
    found = (problems.check(number, line) for number, line in enumerate(text.split("\n"), start))
    return next((bad for bad in found if bad is not None), None)


def _too_long(path: Path, line: int) -> UserError:
    return UserError(
        f"a document of more than {MOST_CHARACTERS:,} characters",
        where=f"{shown_path(path)}:{line}",
        fix="say in data.document_separator what stands between documents, or write the file as several rows",
    )
