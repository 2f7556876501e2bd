"""`ftkit new`: a commented recipe for your data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.recipe.new import DataFacts

MAX_ROWS = 20_000
"""Rows looked at; enough to tell a label from a text, and quick on any file."""


def new(
    path: Annotated[Path | None, typer.Argument(help="Recipe to write, such as classify.yaml.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training file; its text and label columns are found.")] = None,
    model: Annotated[str | None, typer.Option(help="Hub id, folder or builtin:NAME.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Starting point; --list shows them.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="Column of the second text of a pair.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of the file, such as cp1252.")] = "utf-8",
    show: Annotated[bool, typer.Option("--list", help="List the starting points.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a commented recipe, filled in for your data."""
    from ftkit.recipe.new import compose_recipe, fill, starting_point
    from ftkit.storage import refuse_place, write_text

    if show:
        _list()
        return
    if path is None:
        raise UserError("no file to write is named", fix="ftkit new classify.yaml --data my.csv, or ftkit new --list")
    refuse_place(path, overwrite=overwrite)
    text = starting_point(start or ("text-pairs" if text_pair_column else "classify-frozen"))
    if data is None:
        text = fill(text, {"model.name_or_path": model}) if model else text
        write_text(path, text)
        typer.echo(f"wrote {path}: name your data in it" if "train_file" in text else f"wrote {path}")
        return
    if "  train_file:" not in text:
        raise UserError(f"the starting point {start} brings its own data", fix="leave --data or --from out")
    data = _training_file(data)
    facts = _look(
        data, text_column=text_column, text_pair_column=text_pair_column, label_column=label_column, encoding=encoding
    )
    recipe = compose_recipe(text, recipe_path=path, data_file=data, facts=facts, model=model)
    filled = recipe.text if encoding == "utf-8" else fill(recipe.text, {"data.encoding": encoding})
    write_text(path, filled)
    typer.echo(f"wrote {path}")
    for line in recipe.assumed:
        typer.echo(f"  {line}")
    for line in recipe.warnings:
        typer.secho(f"  warning: {line}", fg=typer.colors.YELLOW)
    typer.echo(f"next: ftkit check {path}, then ftkit train {path}")


def _training_file(data: Path) -> Path:
    """The file itself, or the one called train in a folder."""
    if str(data).startswith("builtin:"):
        raise UserError(f"{data} needs no columns found", fix="ftkit new quickstart.yaml --from quickstart")
    if not data.is_dir():
        return data
    there = sorted(path for path in data.iterdir() if path.stem.lower() == "train" and path.is_file())
    if len(there) != 1:
        what = "no file called train" if not there else "more than one file called train"
        raise UserError(f"{what} in this folder", where=str(data), fix="name the training file: --data FILE")
    return there[0]


def _list() -> None:
    from ftkit.recipe.new import starting_points

    points = starting_points()
    width = max(map(len, points))
    for name, summary in points.items():
        typer.echo(f"{name:<{width}}  {summary}")


def _look(
    data: Path, *, text_column: str | None, text_pair_column: str | None, label_column: str | None, encoding: str
) -> DataFacts:
    """Read the head of a data file and find its columns.

    Raises:
        UserError: the file cannot be read, or a column is not obvious and not named.
    """
    from collections import Counter
    from itertools import islice

    from ftkit.data.columns import columns_of, guess_columns
    from ftkit.data.files import BadRow, iter_rows
    from ftkit.recipe.new import DataFacts

    seen = list(islice(iter_rows(data, encoding=encoding), MAX_ROWS + 1))
    complete, seen = len(seen) <= MAX_ROWS, seen[:MAX_ROWS]
    rows = [row.values for row in seen if not isinstance(row, BadRow)]
    if not rows:
        first = next((row for row in seen if isinstance(row, BadRow)), None)
        where = f"{data}:{first.line}" if first else str(data)
        raise UserError(
            first.reason if first else "there is no row in it", where=where, fix=first.fix if first else None
        )
    columns = columns_of(rows)
    named = {"text": text_column, "text-pair": text_pair_column, "label": label_column}
    for kind, name in named.items():
        if name is not None and name not in columns:
            raise UserError(f"no column {name!r} (--{kind}-column)", where=str(data), fix=f"columns: {_some(columns)}")
    guess = guess_columns(rows, text_column=text_column, text_pair_column=text_pair_column, label_column=label_column)
    if guess.text is None or guess.label is None:
        kinds = [kind for kind in ("text", "label") if getattr(guess, kind) is None]
        options = " and ".join(f"--{kind}-column" for kind in kinds)
        message = f"no column is clearly the {' or the '.join(kinds)}"
        raise UserError(message, where=str(data), fix=f"say {options}; columns: {_some(columns)}")
    labels = Counter(str(value) for row in rows if (value := row.get(guess.label)) not in (None, ""))
    return DataFacts(
        num_rows=len(rows),
        complete=complete,
        label_counts=labels,
        text_column=guess.text,
        text_pair_column=text_pair_column,
        label_column=guess.label,
        notes=guess.notes,
        siblings=_siblings(data),
        num_bad_rows=len(seen) - len(rows),
    )


def _some(columns: list[str]) -> str:
    return ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")


def _siblings(data: Path) -> dict[str, Path]:
    """The validation and test files that lie beside a file called train."""
    if data.stem.lower() != "train":
        return {}
    names = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
    found = {}
    for split, stems in names.items():
        there = [data.with_name(f"{stem}{data.suffix}") for stem in stems]
        if near := next((path for path in there if path.is_file()), None):
            found[split] = near
    return found
