"""`ftkit predict RUN_OR_MODEL`: labels for texts or for a file of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ftkit.cli import rows as of_rows
from ftkit.cli.console import ConsoleReporter, Trusted, keys_as_options, leave_hub_alone
from ftkit.errors import UserError


def predict(
    model: of_rows.ModelArgument,
    text: Annotated[list[str] | None, typer.Option("--text", help="A text to classify; may be repeated.")] = None,
    text_pair: Annotated[list[str] | None, typer.Option("--text-pair", help="Second text of each --text.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="CSV, TSV, JSON, JSONL, Parquet or text.")] = None,
    out: of_rows.OutOption = None,
    overwrite: of_rows.OverwriteOption = False,
    adapter: of_rows.AdapterOption = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text in --file.")] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="Column of the second text in --file.")] = None,
    encoding: of_rows.EncodingOption = None,
    delimiter: of_rows.DelimiterOption = None,
    quoting: of_rows.QuotingOption = None,
    table: of_rows.TableOption = None,
    on_bad_row: of_rows.OnBadRowOption = None,
    use_cpu: of_rows.UseCpuOption = False,
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
    if file is None and (text_column or text_pair_column):
        raise UserError("--text has no columns", fix="leave the options about columns out, or name a --file")
    reading = of_rows.reading_of(
        file, encoding=encoding, delimiter=delimiter, quoting=quoting, table=table, on_bad_row=on_bad_row
    )
    of_rows.refuse_out(out, overwrite=overwrite)
    leave_hub_alone(model.exists() or str(model).startswith("builtin:"))
    from ftkit.commands.predict import FileColumns
    from ftkit.commands.predict import predict as predict_texts

    columns = FileColumns(text_column, text_pair_column, reading)
    with keys_as_options():
        rows = predict_texts(
            model,
            text or (),
            adapters=None if adapter is None else of_rows.named_adapters(adapter),
            pairs=text_pair,
            file=file,
            columns=columns,
            use_cpu=use_cpu,
            trust_remote_code=trust_remote_code,
            reporter=ConsoleReporter(),
        )
        _write(rows, out, overwrite=overwrite, side_by_side=adapter is not None)


def _write(rows: Iterator[dict[str, Any]], out: Path | None, *, overwrite: bool, side_by_side: bool) -> None:
    num_rows = num_without_label = num_mended = 0
    with of_rows.rows_to(out, overwrite=overwrite) as put:
        for row in rows:
            num_mended += put(row)
            num_rows += 1
            num_without_label += any(row[key] is None for key in (_labels_of(row) if side_by_side else ["label"]))
    say = ConsoleReporter().say
    if num_without_label:
        of = f"{num_without_label:,} of {num_rows:,} rows"
        say(f"warning: {of} have no label: the model's scores are no numbers (NaN)")
    if num_mended:
        say(f"{num_mended:,} rows hold numbers that are none (NaN, infinite): they are written as null")
    if out is not None:
        say(f"{num_rows:,} rows in {out}")


def _labels_of(row: dict[str, Any]) -> list[str]:
    """Columns of what each of several classifiers says."""
    return [key for key in row if key.startswith("label.")]
