"""`ftkit predict RUN_OR_MODEL`: labels for texts or for a file of any size."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftkit.cli.console import ConsoleReporter, go_offline, quiet_libraries
from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.commands.predict import TextRow


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run directory or a model folder.")],
    text: Annotated[list[str] | None, typer.Option("--text", help="A text to classify; may be repeated.")] = None,
    text_pair: Annotated[list[str] | None, typer.Option("--text-pair", help="Second text of each --text.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="CSV, TSV, JSON, JSONL, Parquet or text.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON lines; default: standard output.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")] = False,
    text_column: Annotated[str | None, typer.Option(help="Column of the text in --file.")] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="Column of the second text in --file.")] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of --file.")] = "utf-8",
    delimiter: Annotated[str | None, typer.Option(help="Field separator of --file.")] = None,
    use_cpu: Annotated[bool, typer.Option("--use-cpu", help="Leave an accelerator alone.")] = False,
) -> None:
    """Label texts, or the rows of a file.

    One JSON object a row: its own columns, label, score and the score of every label.
    """
    if (text is None) == (file is None):
        raise UserError("ftkit predict needs either --text or --file", fix="for example --text 'a text to classify'")
    if text_pair is not None and len(text or ()) != len(text_pair):
        raise UserError(f"{len(text or ())} --text and {len(text_pair)} --text-pair", fix="give one for each")
    if file is None and (text_column or text_pair_column or delimiter):
        raise UserError("--text has no columns", fix="leave the options about columns out, or name a --file")
    if out is not None:
        from ftkit.storage import refuse_place

        refuse_place(out, overwrite=overwrite)
    quiet_libraries()
    if model.exists():
        go_offline()
    from ftkit.commands import predict as prediction

    named = prediction.columns_of_run(model)
    columns = prediction.FileColumns(text_column or named.text, text_pair_column or named.pair, encoding, delimiter)
    if text is not None and text_pair is None and named.pair is not None:
        raise UserError(f"the run {model} was trained on pairs of texts", fix="give a --text-pair for each --text")
    with _keys_as_options():
        rows = prediction.text_rows(file, columns) if file is not None else _typed_rows(text or [], text_pair)
        classifier = prediction.open_classifier(model, use_cpu=use_cpu)
        _write(prediction.predict_rows(classifier, rows), out)


def _typed_rows(texts: list[str], pairs: list[str] | None) -> Iterator[TextRow]:
    from ftkit.commands.predict import TextRow

    for index, text in enumerate(texts):
        pair = pairs[index] if pairs is not None else None
        yield TextRow(text, pair, {"text": text} | ({"text_pair": pair} if pair is not None else {}))


@contextlib.contextmanager
def _keys_as_options() -> Iterator[None]:
    """The data room's advice names keys of a recipe; here they are options."""
    try:
        yield
    except UserError as error:
        fix = error.fix and re.sub(r"data\.(encoding|delimiter):? ?", r"--\1 ", error.fix)
        raise UserError(error.problem, where=error.where, fix=fix) from error


def _write(rows: Iterator[dict[str, object]], out: Path | None) -> None:
    lines = (json.dumps(row, ensure_ascii=False, default=str) for row in rows)
    if out is None:
        for line in lines:
            sys.stdout.write(line + "\n")
        return
    from ftkit.storage import atomic_path

    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as target:
        num_rows = sum(bool(target.write(line + "\n")) for line in lines)
    ConsoleReporter().say(f"{num_rows:,} rows in {out}")
