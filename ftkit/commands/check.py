"""`ftkit check`: the resolved recipe, the audit of its data, and the plan, before step 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftkit.recipe.dump import leaves
from ftkit.recipe.parse import LoadedRecipe
from ftkit.tasks.table import task_of

if TYPE_CHECKING:
    from ftkit.report.check import DataCheck


def resolved_values(loaded: LoadedRecipe) -> list[tuple[str, Any, str]]:
    """Every value of a recipe as (dotted key, value, where it came from), in the order of the schema."""
    return [(key, value, found) for key, value in leaves(loaded.recipe.model_dump()) if (found := _source(loaded, key))]


def _source(loaded: LoadedRecipe, key: str) -> str:
    """Where a value came from; a value below a key of its own, such as a class's weight, from where that did."""
    while key not in loaded.sources and "." in key:
        key = key.rpartition(".")[0]
    return loaded.sources.get(key, "")


def check_data(loaded: LoadedRecipe) -> DataCheck:
    """Read the data of a recipe, audit it and plan the run.

    Raises:
        UserError: the data, the base model, a tracker or an optimizer cannot be had.
    """
    from ftkit.models.download import stay_offline_unless_remote
    from ftkit.training.arguments import refuse_missing_packages

    refuse_missing_packages(loaded.recipe)
    stay_offline_unless_remote(loaded.recipe)
    return task_of(loaded.recipe.task).check_data(loaded.recipe)
