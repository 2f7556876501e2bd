"""Rows that a model is asked about, by the options of `ftkit predict` and `ftkit generate`, and rows of its answers.

Answers are JSON lines, on the terminal or in a file, or a CSV, TSV or Parquet file by its name.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ftkit.cli.console import finite, json_line
from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.data.reading.asked import FileReading

ModelArgument = Annotated[
    Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run, a folder, builtin:NAME or a hub id.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="A file .jsonl, .csv, .tsv or .parquet.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")]
EncodingOption = Annotated[str | None, typer.Option(help="Encoding of --file; default: utf-8.")]
DelimiterOption = Annotated[str | None, typer.Option(help="Field separator of --file.")]
QuotingOption = Annotated[
    Literal["minimal", "none"] | None, typer.Option(help="none: quotes in --file are letters; default: as trained.")
]
TableOption = Annotated[str | None, typer.Option(help="Sheet or table of --file; a query of a database.")]
OnBadRowOption = Annotated[
    Literal["error", "skip"] | None,
    typer.Option(help="skip: rows of --file that cannot be read are left out, and said; default: error."),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", metavar="NAME=FOLDER", help="A run or folder of an adapter on this base; may be repeated."
    ),
]
UseCpuOption = Annotated[bool, typer.Option("--use-cpu", help="Leave an accelerator alone.")]

Put = Callable[[Mapping[str, Any]], bool]
"""Takes a row; whether a number in it was none (NaN, infinite), which is written as null or as nothing."""
_LINES = ("", ".jsonl", ".ndjson", ".json", ".txt")
_ROWS_AT_ONCE = 10_000


def reading_of(
    file: Path | None,
    called: str = "--file",
    *,
    encoding: str | None,
    delimiter: str | None,
    quoting: Literal["minimal", "none"] | None,
    table: str | None,
    on_bad_row: Literal["error", "skip"] | None,
) -> FileReading:
    """How the file of an option is read, if there is one.

    Raises:
        UserError: there is none, and something is said of it.
    """
    named = {
        "--encoding": encoding,
        "--delimiter": delimiter,
        "--quoting": quoting,
        "--table": table,
        "--on-bad-row": on_bad_row,
    }
    if file is None and (given := [option for option, value in named.items() if value is not None]):
        raise UserError(f"{given[0]} is about a {called}", fix="leave it out")
    from ftkit.data.reading.asked import FileReading

    return FileReading(encoding or "utf-8", delimiter, quoting, table, on_bad_row or "error")


def named_adapters(words: Sequence[str]) -> dict[str, Path]:
    """Name -> run or folder, of adapters as they are typed; a folder alone is called by its last part.

    Raises:
        UserError: a name or a folder is missing, or a name is given twice.
    """
    named: dict[str, Path] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not equals:
            name, place = Path(word).name, word
        if not name or not place:
            raise UserError(f"--adapter {word}: a name or a folder is missing", fix="write --adapter NAME=FOLDER")
        if name in named:
            raise UserError(f"two adapters are called {name}", fix="write --adapter NAME=FOLDER with another name")
        named[name] = Path(place)
    return named


def refuse_out(out: Path | None, *, overwrite: bool) -> None:
    """Refuse a file of results that is in the way, or of a format that is not written; or to replace none.

    Raises:
        UserError: says which.
    """
    from ftkit.disk import refuse_place

    if out is None:
        if overwrite:
            raise UserError("--overwrite is about an --out", fix="leave it out, or name the file")
        return
    refuse_place(out, overwrite=overwrite)
    if out.suffix.lower() not in (*_LINES, *_TABLES):
        raise UserError(f"results are not written as {out.suffix}", fix="name it .jsonl, .csv, .tsv or .parquet")


@contextlib.contextmanager
def rows_to(out: Path | None, *, overwrite: bool) -> Iterator[Put]:
    """Where results go: to standard output, or to a file that appears whole or not at all, and replaces one if told so.

    In a table `scores` is a column a label, `scores.NAME`, and other objects and lists are JSON.

    Raises:
        UserError: the file was made meanwhile, or a table lacks a column that a later row has.
        DiskError: the disk refused it.
    """
    if out is None:
        yield lambda row: _put_line(sys.stdout.write, row)
        return
    from ftkit.storage import atomic_path

    out.parent.mkdir(parents=True, exist_ok=True)
    write = _TABLES.get(out.suffix.lower(), _json_lines)
    with atomic_path(out, replace=overwrite) as temporary, write(temporary) as put:
        yield put


def _put_line(write: Callable[[str], object], row: Mapping[str, Any]) -> bool:
    line, mended = json_line(row)
    write(line)
    return mended


@contextlib.contextmanager
def _json_lines(path: Path) -> Iterator[Put]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda row: _put_line(file.write, row)


@contextlib.contextmanager
def _delimited(path: Path, delimiter: str) -> Iterator[Put]:
    columns: list[str] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")

        def put(row: Mapping[str, Any]) -> bool:
            is_first, values = not columns, _flat(row, columns)
            if is_first:
                writer.writerow(columns)
            writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values.values()])
            return bool(finite(row) != row)

        yield put


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Put]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: list[str] = []
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        writer: Any = None

        def flush() -> None:
            nonlocal writer
            try:
                table = pa.Table.from_pylist(rows, None if writer is None else writer.schema)
                if writer is None:
                    # a column that is empty so far may hold anything later; a text is the likeliest
                    types = [pa.string() if pa.types.is_null(field.type) else field.type for field in table.schema]
                    table = table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))
                    writer = stack.enter_context(pq.ParquetWriter(path, table.schema))
                writer.write_table(table)
            except pa.ArrowException as error:
                reason = str(error)[:200]
                raise UserError(f"the rows are no Parquet table: {reason}", fix="name it .jsonl") from error
            rows.clear()

        def put(row: Mapping[str, Any]) -> bool:
            rows.append(_flat(row, columns))
            if len(rows) == _ROWS_AT_ONCE:
                flush()
            return bool(finite(row) != row)

        yield put
        flush()


def _flat(row: Mapping[str, Any], columns: list[str]) -> dict[str, Any]:
    """The values of a row by column; the first row tells the columns."""
    flat: dict[str, Any] = {}
    for name, value in finite(row).items():
        if name == "scores" and isinstance(value, Mapping):
            flat |= {f"scores.{label}": score for label, score in value.items()}
        elif isinstance(value, Mapping | list | tuple):
            flat[name] = json.dumps(value, ensure_ascii=False, default=str)
        else:
            flat[name] = value
    if not columns:
        columns.extend(flat)
    if other := [name for name in flat if name not in columns]:
        raise UserError(f"a row has a column that the first has not: {other[0]}", fix="name the file .jsonl")
    return {name: flat.get(name) for name in columns}


_TABLES: dict[str, Callable[[Path], contextlib.AbstractContextManager[Put]]] = {
    ".csv": lambda path: _delimited(path, ","),
    ".tsv": lambda path: _delimited(path, "\t"),
    ".parquet": _parquet,
}
