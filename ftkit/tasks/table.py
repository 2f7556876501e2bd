"""The tasks, in an explicit table; what a task does is imported when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.errors import UserError
from ftkit.recipe.dump import dump_recipe
from ftkit.recipe.files import read_recipe_text
from ftkit.recipe.keys import all_keys
from ftkit.recipe.nearest import nearest
from ftkit.recipe.parse import LoadedRecipe, parse_recipe
from ftkit.recipe.schema import Recipe
from ftkit.recipe.task_rules import Tasks
from ftkit.recipe.yaml.scalars import write_value
from ftkit.runs.folder import is_run, refuse_broken_run
from ftkit.runs.run import Run

if TYPE_CHECKING:
    from ftkit.tasks.task import Task

RecipeLike = str | PathLike[str] | Mapping[str, object] | Recipe
"""A recipe as Python code has it: a YAML file, its sections as dictionaries, or one that has been read already."""


def task_of(name: str) -> Task:
    """`task` of a recipe -> what it does."""
    if name == "classification":
        from ftkit.tasks import classification

        return classification
    if name == "causal_lm":
        from ftkit.tasks import causal_lm

        return causal_lm
    from ftkit.tasks import seq2seq

    assert name == "seq2seq", f"no task {name}"
    return seq2seq


def task_of_model(folder: Path) -> str:
    """Name of the task that the model in a folder is of, whoever trained it.

    Raises:
        UserError: it is none that is measured.
    """
    if (found := next((name for name in task_rules() if task_of(name).is_of(folder)), None)) is None:
        raise UserError(
            f"{folder} holds no classifier and no language model, so there is nothing to measure",
            fix="name a finetuned classifier, or a model with a language-model head",
        )
    return found


@cache
def task_rules() -> Tasks:
    """`task` of a recipe -> what it may say."""
    from ftkit.tasks.causal_lm.recipe import CAUSAL_LM
    from ftkit.tasks.classification.recipe import CLASSIFICATION
    from ftkit.tasks.seq2seq.recipe import SEQ2SEQ

    return {rules.name: rules for rules in (CLASSIFICATION, CAUSAL_LM, SEQ2SEQ)}


def read_recipe(
    path: Path, overrides: Sequence[str] = (), *, text: str | None = None, check_files: bool = True
) -> LoadedRecipe:
    """Read a recipe file.

    Args:
        path: a YAML file.
        overrides: dotted `key=value` words; paths in them are relative to the working directory.
        text: what the file says, where it has been read already; `path` anchors relative paths.
        check_files: whether files and folders that the recipe names must exist.

    Raises:
        RecipeError: with every problem of the file and the overrides.
    """
    text = read_recipe_text(path) if text is None else text
    return parse_recipe(text, path, overrides, tasks=task_rules(), check_files=check_files)


def take_recipe(
    given: RecipeLike, overrides: Sequence[str] = (), values: Mapping[str, object] | None = None
) -> LoadedRecipe:
    """Read a recipe as Python code has it.

    Args:
        given: file, dictionary or recipe; paths in the latter two are relative to the working directory.
        overrides: dotted `key=value` words.
        values: key -> value instead of what it has: by its name alone or with its section.

    Raises:
        RecipeError: with every problem.
        UserError: a key that no section has.
        TypeError: a value that YAML has no word for.
    """
    words = [*overrides, *(f"{_dotted(key)}={write_value(_plain(value))}" for key, value in (values or {}).items())]
    if isinstance(given, Recipe):
        return read_recipe(Path("recipe"), words, text=dump_recipe(given))
    if isinstance(given, Mapping):
        text = json.dumps({**given}, indent=2, default=fspath)
        return read_recipe(Path("recipe"), words, text=text)
    return read_recipe(Path(given), words)


def _dotted(key: str) -> str:
    """The place of a key in a recipe."""
    if "." in key:
        return key
    everywhere = all_keys(task_rules())
    if key in everywhere:
        return everywhere[key][0]
    near = nearest(key, everywhere)
    raise UserError(f"no such key: {key}", fix=f"did you mean {near}?" if near else "`ftkit schema` lists them")


def _plain(value: object) -> object:
    """A path as its text; what YAML has words for stays."""
    return fspath(value) if isinstance(value, PathLike) else value


def recipe_of_run(path: Path) -> Recipe | None:
    """The recipe of a run, as it was resolved; None for a folder that is none."""
    refuse_broken_run(path)
    return read_recipe(Run(path).recipe_file, check_files=False).recipe if is_run(path) else None
