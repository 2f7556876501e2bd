"""CSV and TSV, row by row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from ftkit.data.reading.paths import shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.textfile import ByteProblems, open_text
from ftkit.errors import SettingAdvice, UserError

_FIELD_LIMIT = 2**31 - 1
"""Python's csv refuses fields above 131,072 characters unless told otherwise; a C long holds this everywhere."""
_ROWS_WITHIN = 3
_DELIMITERS = {",": "','", ";": "';'", "\t": '"\\t"', "|": "'|'"}


def iter_delimited(path: Path, *, encoding: str, delimiter: str, quotes: bool = True) -> Iterator[Row | BadRow]:
    """Rows of a file with a header line, in constant memory; blank lines are passed over.

    Quoting is RFC 4180, strictly: a quote opens a field only at its start, and what follows the closing quote must be
    a delimiter, so that a stray quote is reported where it stands. Without `quotes` a quote is a letter.

    Raises:
        UserError: no header, a header that is unusable, a quote that is never closed (it holds the rest of the
            file, so that leaving it out would leave out everything after it), or two that hold whole rows.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    bytes_ = ByteProblems(path, encoding)
    with open_text(path, encoding=encoding, newline="") as file:
        reader = csv.reader(
            file, delimiter=delimiter, strict=True, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        )
        header: list[str] | None = None
        line = 1
        while True:
            line = reader.line_num + 1
            try:
                record = next(reader)
            except StopIteration:
                break
            except UnicodeError as error:
                raise bytes_.fatal(line, error) from None
            except csv.Error as error:
                bad = _quoting(path, line, reader.line_num, str(error))
                if header is None:
                    raise UserError(
                        f"the header is broken: {bad.reason}", where=f"{shown_path(path)}:{line}", fix=bad.fix
                    ) from None
                yield bad
                continue
            if not record:
                continue
            if (dirt := bytes_.check(line, "".join(record))) is not None:
                if header is None:
                    raise UserError(
                        f"the header cannot be read: {dirt.reason}", where=f"{shown_path(path)}:{line}", fix=dirt.fix
                    )
                yield dirt
            elif header is None:
                header = _header(path, line, record, delimiter)
            elif len(record) == len(header):
                swallows = reader.line_num > line and _swallows(path, line, reader.line_num, record, delimiter)
                yield Row(line, dict(zip(header, record, strict=True)), swallows)
            else:
                yield _field_count(line, reader.line_num, record, header, delimiter)
    if header is None:
        raise UserError(
            "the file holds blank lines only", where=shown_path(path), fix="write the rows again or name another file"
        )


def _header(path: Path, line: int, record: list[str], delimiter: str) -> list[str]:
    where = f"{shown_path(path)}:{line}"
    names = [name.strip() or f"column {number}" for number, name in enumerate(record, 1)]
    if len(names) == 1:
        for other, spelling in _DELIMITERS.items():
            if other != delimiter and other in names[0]:
                shown = names[0][:60].replace("\t", "\\t")
                problem = f"the header is one column, `{shown}`, with {spelling} in it"
                raise UserError(problem, where=where, fix=SettingAdvice("set {}", "data.delimiter", spelling))
    return checked_header(names, where=where, delimiter=delimiter)


def checked_header(names: list[str], *, where: str, delimiter: str) -> list[str]:
    """Names of columns as they stand; those that lack are `column 1`, ...

    Raises:
        UserError: two are the same, or the row looks like data.
    """
    names = [name.strip() or f"column {number}" for number, name in enumerate(names, 1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(
            f"the header names a column twice: {', '.join(repeated)[:200]}",
            where=where,
            fix="give each column its own name; without a header, add one: text,label",
        )
    if _is_data(names):
        raise UserError(
            f"the first line looks like data, not like column names: {delimiter.join(names)[:80]}",
            where=where,
            fix=f"add a first line with column names: {delimiter.join(['text', 'label'])}",
        )
    return names


def _is_data(names: list[str]) -> bool:
    """Only what is plain: a sentence, or three words beside a bare number."""
    longest = max(len(name.split()) for name in names)
    number = any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in names)
    return longest >= 6 or (longest >= 3 and number) or max(map(len, names)) > 100


def _swallows(path: Path, line: int, last_line: int, record: list[str], delimiter: str) -> bool:
    """Whether a field of a row that runs over line ends holds as many delimiters as rows would.

    Raises:
        UserError: every line within it is one row, so that it can hardly be meant.
    """
    for field in record:
        first, *middle = field.splitlines() or [""]
        expected = len(record) - 1
        if not middle or not expected or field.count(delimiter) < expected:
            continue
        *whole, last = middle
        like_rows = first.count(delimiter) + last.count(delimiter) == expected and all(
            inner.count(delimiter) == expected for inner in whole
        )
        # a comma here and there is prose, a tab or three rows' worth of commas is not
        if like_rows and (delimiter != "," or len(whole) >= _ROWS_WITHIN):
            raise UserError(
                f"a double quote opens here and is closed in line {last_line}, and the lines between look like rows",
                where=f"{shown_path(path)}:{line}",
                fix=SettingAdvice(
                    'set {} where quotes are letters; else write one within a text twice: ""', "data.quoting", "none"
                ),
            )
        return True
    return False


def _field_count(line: int, last_line: int, record: list[str], header: list[str], delimiter: str) -> BadRow:
    found = f"{len(record)} field{'s' if len(record) != 1 else ''} where the header has {len(header)}"
    if last_line > line:
        found += f" (the row runs to line {last_line}: is a quote out of place?)"
    if any(field.startswith(' "') for field in record):
        return BadRow(line, found, "remove the space before the opening quote")
    if len(record) > len(header):
        return BadRow(
            line, found, f"a text with {_DELIMITERS.get(delimiter, delimiter)} in it needs double quotes around it"
        )
    return BadRow(line, found, "add what is missing, or remove the line")


def _quoting(path: Path, line: int, last_line: int, error: str) -> BadRow:
    if "unexpected end of data" in error:
        lines = f"lines {line} to {last_line} are" if last_line > line else "the rest of the line is"
        raise UserError(
            f"a double quote opens here and is never closed, so {lines} one field",
            where=f"{shown_path(path)}:{line}",
            fix='close it; a quote inside a quoted text is written twice: ""',
        )
    if "expected after" in error and last_line > line:
        found = f"the quote that opens here closes in line {last_line}, with text after it"
        return BadRow(line, found, 'close it where the text ends; a quote inside a text is written twice: ""')
    if "expected after" in error:
        return BadRow(line, "text after a closing quote", 'a quote inside a quoted text is written twice: ""')
    return BadRow(line, f"not CSV: {error}", "mend the line")
