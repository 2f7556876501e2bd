"""`ftkit new`: a commented recipe for your data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ftkit.cli.console import keys_as_options, show_lines
from ftkit.cli.rows import reading_of
from ftkit.errors import UserError, typed
from ftkit.tasks import TASKS

TaskName = Literal[TASKS]  # type: ignore[valid-type]


def new(
    path: Annotated[Path | None, typer.Argument(help="Recipe to write, such as classify.yaml.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training file; its columns are found.")] = None,
    task: Annotated[TaskName | None, typer.Option(help="What to train; told by the data if left out.")] = None,
    model: Annotated[str | None, typer.Option(help="Hub id, folder or builtin:NAME.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Starting point; --list shows them.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="Column of the second text of a pair.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Column of what a language model is given.")] = None,
    completion_column: Annotated[str | None, typer.Option(help="Column of what it is to answer.")] = None,
    messages_column: Annotated[str | None, typer.Option(help="Column of chats.")] = None,
    source_column: Annotated[str | None, typer.Option(help="Column of what an encoder reads.")] = None,
    target_column: Annotated[str | None, typer.Option(help="Column of what a decoder is to write.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of --data, such as cp1252; default: utf-8.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Field separator of --data.")] = None,
    quoting: Annotated[
        Literal["minimal", "none"] | None, typer.Option(help="none: quotes in --data are letters.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="Sheet or table of --data; a query of a database.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the starting points.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a commented recipe, filled in for your data."""
    if show:
        _list()
        return
    if path is None:
        raise UserError("no file to write is named", fix="ftkit new classify.yaml --data my.csv, or ftkit new --list")
    reading = reading_of(
        data, "--data", encoding=encoding, delimiter=delimiter, quoting=quoting, table=table, on_bad_row=None
    )
    from ftkit.commands.new import write_recipe
    from ftkit.commands.schema import SCHEMA_NAME

    columns = {
        "text": text_column,
        "text_pair": text_pair_column,
        "label": label_column,
        "prompt": prompt_column,
        "completion": completion_column,
        "messages": messages_column,
        "source": source_column,
        "target": target_column,
    }
    with keys_as_options():
        written = write_recipe(
            path,
            data=data,
            task=task,
            model=model,
            start=start,
            named={kind: column for kind, column in columns.items() if column is not None},
            reading=reading,
            overwrite=overwrite,
        )
    if data is None:
        typer.echo(f"wrote {path}: name your data in it" if "train_file" in written.text else f"wrote {path}")
        return
    typer.echo(f"wrote {path}")
    show_lines(f"  {line}" for line in written.assumed)
    for line in written.warnings:
        typer.echo(f"  warning: {line}")
    if not (path.parent / SCHEMA_NAME).exists():
        typer.echo(f"  for an editor that completes and explains keys: {typed('ftkit', 'schema')} > {SCHEMA_NAME}")
    typer.echo(f"next: {typed('ftkit', 'check', path)}, then {typed('ftkit', 'train', path)}")


def _list() -> None:
    """Starting points by task."""
    from ftkit.recipe.new import starting_points

    points = starting_points()
    width = max(map(len, points))
    for task in TASKS:
        typer.echo(f"task {task}")
        for name, point in points.items():
            if point.task == task:
                typer.echo(f"  {name:<{width}}  {point.summary}")
