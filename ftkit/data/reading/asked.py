"""A file that a trained model is asked about: read as its training data were, its broken rows refused or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from ftkit.data.reading.files import file_format, iter_rows
from ftkit.data.reading.paths import shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError
from ftkit.recipe.data_section import OnBadRow
from ftkit.recipe.sources.section import Quoting

_SHOWN = 20
FromRow = TypeVar("FromRow")


class FileReading(NamedTuple):
    """How a file is read.

    Attributes:
        encoding: of a text file.
        delimiter: of a CSV or TSV file.
        quoting: the same; None is as the training data had it, which is said where quotes were letters.
        table: of a spreadsheet or a database.
        on_bad_row: what becomes of a row that cannot be used.
    """

    encoding: str = "utf-8"
    delimiter: str | None = None
    quoting: Quoting | None = None
    table: str | None = None
    on_bad_row: OnBadRow = "error"

    def keys(self) -> dict[str, str]:
        """What is not the default of a file, as keys of a recipe's data section: `data.encoding` -> `cp1252`."""
        usual = {"encoding": "utf-8", "on_bad_row": "error"}
        return {f"data.{key}": value for key, value in self._asdict().items() if value not in (None, usual.get(key))}


AS_TRAINED = FileReading()


def iter_asked(
    path: Path, reading: FileReading = AS_TRAINED, *, trained: Quoting = "minimal", say: Callable[[str], None]
) -> Iterator[Row | BadRow]:
    """Rows of a file, as `iter_rows`.

    Args:
        path: the file.
        reading: what is said of it.
        trained: how the training data had quotes.
        say: hears that quotes may be out of place.

    Raises:
        UserError: as `iter_rows`; a file of another format, which has neither delimiters nor quotes.
    """
    has_fields = file_format(path) in ("csv", "tsv")
    for option, value in (("delimiter", reading.delimiter), ("quoting", reading.quoting)):
        if value is not None and not has_fields:
            raise UserError(f"--{option} is about CSV and TSV files", where=shown_path(path), fix="leave it out")
    if reading.quoting is None and trained == "none" and has_fields:
        say(f"{path.name}: quotes are letters, as in the training data; --quoting minimal reads them as quotes")
    letters, warned = (reading.quoting or trained) == "none", False
    rows = iter_rows(
        path, encoding=reading.encoding, delimiter=reading.delimiter, quotes=not letters, table=reading.table
    )
    for row in rows:
        if isinstance(row, Row) and row.swallows and not warned:
            within = "a quoted text runs over line ends and holds as many delimiters as a row"
            say(f"warning: {path.name}:{row.line}: {within}; --quoting none reads quotes as letters")
            warned = True
        yield row


def usable(
    path: Path,
    rows: Iterable[Row | BadRow],
    make: Callable[[Row], FromRow],
    *,
    on_bad_row: OnBadRow,
    say: Callable[[str], None],
) -> Iterator[FromRow]:
    """What is made of each row; `make` raises Unusable or UserError for a row that is no good.

    Raises:
        UserError: the first row that cannot be used, with `path:line`, unless such rows are to be left out; those are
            said, the first with their places, and counted.
    """
    num_bad = 0
    for row in rows:
        bad = row if isinstance(row, BadRow) else None
        if isinstance(row, Row):
            try:
                made = make(row)
            except (Unusable, UserError) as error:
                reason = error.reason if isinstance(error, Unusable) else error.problem
                bad = BadRow(row.line, reason, error.fix or "mend the row")
            else:
                yield made
        if bad is None:
            continue
        if on_bad_row == "error":
            raise UserError(bad.reason, where=f"{path}:{bad.line}", fix=bad.fix)
        num_bad += 1
        if num_bad <= _SHOWN:
            say(f"left out: {path}:{bad.line} {bad.reason}")
    if num_bad:
        say(f"{num_bad:,} rows of {path} left out (--on-bad-row skip)")
