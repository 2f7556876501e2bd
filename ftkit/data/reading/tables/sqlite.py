"""A table, a view or a query of a SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ftkit.data.reading.json_rows import encodable
from ftkit.data.reading.paths import check_readable, shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.tables.choosing import chosen_table
from ftkit.errors import UserError

_QUERIES = ("select ", "with ")


def iter_sqlite(path: Path, *, table: str | None) -> Iterator[Row | BadRow]:
    """Rows of a database in constant memory; `line` is the row's number, from 1. The file is only read.

    Args:
        path: of the database.
        table: a table or a view, or a query that begins with SELECT or WITH; None: the only table.

    Raises:
        UserError: no database, no such table, a query that cannot be answered, or two columns of one name.
    """
    check_readable(path)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as database:
            # what a stranger's views call may touch nothing
            database.execute("PRAGMA trusted_schema = OFF")
            database.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
            cursor = database.execute(_query(database, path, table))
            names = [column[0] for column in cursor.description]
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                fix = "give each a name of its own: SELECT ... AS ..."
                raise UserError(f"two columns are called {', '.join(repeated)}", where=shown_path(path), fix=fix)
            for number, values in enumerate(cursor, 1):
                yield _row(number, dict(zip(names, values, strict=True)))
    except sqlite3.Error as error:
        raise UserError(f"SQLite: {error}", where=shown_path(path), fix="look at the file and at data.table") from error


def _query(database: sqlite3.Connection, path: Path, table: str | None) -> str:
    if table is not None and table.lstrip().lower().startswith(_QUERIES):
        return table
    found = database.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
    tables = {name: kind == "table" for name, kind in found if not name.startswith("sqlite_")}
    name = chosen_table(tables, table, path=path, kind="table")
    return f'SELECT * FROM "{name.replace(chr(34), 2 * chr(34))}"'


def _row(number: int, values: dict[str, object]) -> Row | BadRow:
    for name, value in values.items():
        if isinstance(value, str) and not (encodable(value) and "\0" not in value):
            return BadRow(number, f"{name} holds bytes that are no UTF-8 text", "mend the row")
    return Row(number, values)
