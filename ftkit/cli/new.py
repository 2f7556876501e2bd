"""`ftkit new`: a commented recipe for your data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.data.look import Head
    from ftkit.recipe.new import NewRecipe

TASKS_WITH = {
    "text_pair": ("classification", "seq2seq"),
    "label": ("classification", "seq2seq"),
    "prompt": ("causal_lm",),
    "completion": ("causal_lm",),
    "messages": ("causal_lm",),
    "source": ("seq2seq",),
    "target": ("seq2seq",),
}
"""Kind of column -> the tasks that have it, the usual one first."""


def new(
    path: Annotated[Path | None, typer.Argument(help="Recipe to write, such as classify.yaml.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training file; its columns are found.")] = None,
    task: Annotated[
        Literal["classification", "causal_lm", "seq2seq"] | None,
        typer.Option(help="What to train; told by the data if left out."),
    ] = None,
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
    encoding: Annotated[str, typer.Option(help="Encoding of the file, such as cp1252.")] = "utf-8",
    show: Annotated[bool, typer.Option("--list", help="List the starting points.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a commented recipe, filled in for your data."""
    from ftkit.storage import refuse_place

    if show:
        _list()
        return
    if path is None:
        raise UserError("no file to write is named", fix="ftkit new classify.yaml --data my.csv, or ftkit new --list")
    refuse_place(path, overwrite=overwrite)
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
    named = {kind: column for kind, column in columns.items() if column is not None}
    asked = _task_asked(task, start, named)
    if data is None:
        _copy(path, start or _first_choice(asked, named), model=model)
        return
    _fill_in(path, data, task=asked, start=start, named=named, model=model, encoding=encoding)


def _task_asked(task: str | None, start: str | None, named: Mapping[str, str]) -> str | None:
    """What the options say together; None where the data is left to decide.

    Raises:
        UserError: an unknown starting point, or options for different tasks.
    """
    from ftkit.recipe.new import starting_point, task_of

    says: dict[str, tuple[str, ...]] = {"--task": (task,)} if task else {}
    if start is not None:
        says[f"--from {start}"] = (task_of(starting_point(start)),)
    says |= {f"--{kind.replace('_', '-')}-column": TASKS_WITH[kind] for kind in named if kind in TASKS_WITH}
    for (one, its), (other, others) in combinations(says.items(), 2):
        if not set(its) & set(others):
            theirs = f"{one} is for {' and '.join(its)}, {other} for {' and '.join(others)}"
            fix = f"leave out what does not belong to the task: {theirs}"
            raise UserError(f"{one} and {other} do not go together", fix=fix)
    return min(says.values(), key=len)[0] if says else None


def _first_choice(task: str | None, named: Mapping[str, str]) -> str:
    """The starting point where neither one nor data is named."""
    if task == "causal_lm":
        return "instruct" if {"prompt", "completion", "messages"} & named.keys() else "causal-lm-lora"
    if task == "seq2seq":
        return "text-to-text-classification" if {"label", "text_pair"} & named.keys() else "seq2seq-full"
    return "text-pairs" if "text_pair" in named else "classify-frozen"


def _copy(path: Path, start: str, *, model: str | None) -> None:
    """Write a starting point as it is."""
    from ftkit.recipe.new import fill, starting_point
    from ftkit.storage import write_text

    text = starting_point(start)
    write_text(path, fill(text, {"model.name_or_path": model}) if model else text)
    typer.echo(f"wrote {path}: name your data in it" if "train_file" in text else f"wrote {path}")


def _fill_in(
    path: Path,
    data: Path,
    *,
    task: str | None,
    start: str | None,
    named: Mapping[str, str],
    model: str | None,
    encoding: str,
) -> None:
    """Write a recipe for a data file and say what was assumed."""
    from ftkit.data.look import read_head, task_of_data
    from ftkit.recipe.new import fill, starting_point
    from ftkit.storage import write_text

    if str(data).startswith("builtin:"):
        fix = "take a starting point that names it: --from quickstart, smollm2-pydoc, signatures or commands-t5"
        raise UserError(f"{data} needs no columns found", fix=fix)
    if start is not None and "  train_file:" not in starting_point(start):
        raise UserError(f"the starting point {start} brings its own data", fix="leave --data or --from out")
    head = read_head(data, encoding=encoding, named=named)
    why = ""
    if task is None:
        task, why = task_of_data(head)
    compose = {"classification": _classification, "causal_lm": _language, "seq2seq": _seq2seq}[task]
    recipe = compose(path, head, start=start, model=model)
    write_text(path, recipe.text if encoding == "utf-8" else fill(recipe.text, {"data.encoding": encoding}))
    typer.echo(f"wrote {path}")
    for line in (why, *recipe.assumed):
        if line:
            typer.echo(f"  {line}")
    for line in recipe.warnings:
        typer.secho(f"  warning: {line}", fg=typer.colors.YELLOW)
    typer.echo(f"next: ftkit check {path}, then ftkit train {path}")


def _classification(path: Path, head: Head, *, start: str | None, model: str | None) -> NewRecipe:
    from ftkit.data.look import classification_facts
    from ftkit.recipe.new import compose_recipe, starting_point

    text = starting_point(start or _first_choice("classification", head.named))
    return compose_recipe(text, recipe_path=path, data_file=head.path, facts=classification_facts(head), model=model)


def _language(path: Path, head: Head, *, start: str | None, model: str | None) -> NewRecipe:
    from ftkit.data.look import language_facts
    from ftkit.recipe.new import starting_point
    from ftkit.tasks.causal_lm.new import STARTING_POINT, compose_language_recipe

    facts = language_facts(head)
    text = starting_point(start or STARTING_POINT[facts.kind])
    return compose_language_recipe(text, recipe_path=path, data_file=head.path, facts=facts, model=model)


def _seq2seq(path: Path, head: Head, *, start: str | None, model: str | None) -> NewRecipe:
    from ftkit.data.look import classification_facts
    from ftkit.recipe.new import starting_point
    from ftkit.tasks.seq2seq.new import STARTING_POINT, compose_label_recipe, compose_pair_recipe
    from ftkit.tasks.seq2seq.new_pairs import holds_labels, pair_facts

    if holds_labels(head):
        text = starting_point(start or STARTING_POINT["label"])
        facts = classification_facts(head)
        return compose_label_recipe(text, recipe_path=path, data_file=head.path, facts=facts, model=model)
    text = starting_point(start or STARTING_POINT["pair"])
    return compose_pair_recipe(text, recipe_path=path, data_file=head.path, facts=pair_facts(head), model=model)


def _list() -> None:
    """Starting points by task."""
    from ftkit.recipe.defaults import TASK_METHODS
    from ftkit.recipe.new import starting_points

    points = starting_points()
    width = max(map(len, points))
    for task in TASK_METHODS:
        typer.echo(f"task {task}")
        for name, point in points.items():
            if point.task == task:
                typer.echo(f"  {name:<{width}}  {point.summary}")
