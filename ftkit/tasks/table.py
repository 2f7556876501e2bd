"""The tasks, in an explicit table; what a task does is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.recipe.parse import LoadedRecipe, parse_recipe
from ftkit.recipe.schema import Recipe
from ftkit.recipe.task_rules import Tasks
from ftkit.recipe.yaml.text import read_recipe_text
from ftkit.runs.folder import is_run
from ftkit.runs.run import Run

if TYPE_CHECKING:
    from ftkit.tasks.task import Task

TASKS = ("classification", "causal_lm", "seq2seq")
"""Names of the tasks, the usual ones first."""


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


@cache
def task_rules() -> Tasks:
    """`task` of a recipe -> what it may say."""
    from ftkit.tasks.causal_lm.recipe import RULES as CAUSAL_LM
    from ftkit.tasks.classification.recipe import RULES as CLASSIFICATION
    from ftkit.tasks.seq2seq.recipe import RULES as SEQ2SEQ

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


def recipe_of_run(path: Path) -> Recipe | None:
    """The recipe of a run, as it was resolved; None for a folder that is none."""
    return read_recipe(Run(path).recipe_file, check_files=False).recipe if is_run(path) else None
