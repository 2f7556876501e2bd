"""`ftkit predict RUN_OR_MODEL`: labels for texts or for a file of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ftkit.cli.console import ConsoleReporter, Trusted, keys_as_options, quiet_libraries
from ftkit.cli.rows import refuse_out, rows_to
from ftkit.errors import UserError


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run, a folder, builtin:NAME or a hub id.")],
    text: Annotated[list[str] | None, typer.Option("--text", help="A text to classify; may be repeated.")] = None,
    text_pair: Annotated[list[str] | None, typer.Option("--text-pair", help="Second text of each --text.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="CSV, TSV, JSON, JSONL, Parquet or text.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A file .jsonl, .csv, .tsv or .parquet.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")] = False,
    text_column: Annotated[str | None, typer.Option(help="Column of the text in --file.")] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="Column of the second text in --file.")] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of --file.")] = "utf-8",
    delimiter: Annotated[str | None, typer.Option(help="Field separator of --file.")] = None,
    quoting: Annotated[
        Literal["minimal", "none"] | None, typer.Option(help="none: quotes in --file are letters; default: as trained.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="Sheet or table of --file; a query of a database.")] = None,
    on_bad_row: Annotated[
        Literal["error", "skip"], typer.Option(help="skip: rows of --file that cannot be read are left out, and said.")
    ] = "error",
    use_cpu: Annotated[bool, typer.Option("--use-cpu", help="Leave an accelerator alone.")] = False,
    trust_remote_code: Trusted = False,
) -> None:
    """Label texts, or the rows of a file.

    One JSON object a row: its own columns, label, score and the score of every label.
    """
    if (text is None) == (file is None):
        raise UserError(
            "ftkit predict takes either --text or --file, and one of them",
            fix="for example --text 'a text to classify'",
        )
    if text_pair is not None and len(text or ()) != len(text_pair):
        raise UserError(f"{len(text or ())} --text and {len(text_pair)} --text-pair", fix="give one for each")
    if file is None and (text_column or text_pair_column or delimiter or quoting or table):
        raise UserError("--text has no columns", fix="leave the options about columns out, or name a --file")
    refuse_out(out, overwrite=overwrite)
    quiet_libraries(offline=model.exists() or str(model).startswith("builtin:"))
    from ftkit.commands.predict import FileColumns
    from ftkit.commands.predict import predict as predict_texts
    from ftkit.data.reading.asked import FileReading

    reading = FileReading(encoding, delimiter, quoting, table, on_bad_row)
    columns = FileColumns(text_column, text_pair_column, reading)
    with keys_as_options():
        rows = predict_texts(
            model,
            text or (),
            pairs=text_pair,
            file=file,
            columns=columns,
            use_cpu=use_cpu,
            trust_remote_code=trust_remote_code,
            reporter=ConsoleReporter(),
        )
        _write(rows, out, overwrite=overwrite)


def _write(rows: Iterator[dict[str, Any]], out: Path | None, *, overwrite: bool) -> None:
    num_rows = num_without_label = num_mended = 0
    with rows_to(out, overwrite=overwrite) as put:
        for row in rows:
            num_mended += put(row)
            num_rows += 1
            num_without_label += row["label"] is None
    say = ConsoleReporter().say
    if num_without_label:
        of = f"{num_without_label:,} of {num_rows:,} rows"
        say(f"warning: {of} have no label: the model's scores are no numbers (NaN)")
    if num_mended:
        say(f"{num_mended:,} rows hold numbers that are none (NaN, infinite): they are written as null")
    if out is not None:
        say(f"{num_rows:,} rows in {out}")
