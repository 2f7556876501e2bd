"""Recipes put together from single keys, to see which rules they break."""

from __future__ import annotations

from pathlib import Path

from ftkit.errors import RecipeError
from ftkit.recipe.dump import dump_recipe
from ftkit.tasks.table import read_recipe


def broken(folder: Path, base: dict[str, str], *overrides: str) -> str:
    """What is wrong with a recipe of `base` and overrides; empty when nothing is, and it can be written and read."""
    path = folder / "my.yaml"
    path.write_text("{}\n")
    values = base | {word.partition("=")[0]: word.partition("=")[2] for word in overrides}
    try:
        loaded = read_recipe(path, [f"{key}={value}" for key, value in values.items()], check_files=False)
    except RecipeError as error:
        return str(error)
    path.write_text(dump_recipe(loaded.recipe))
    assert read_recipe(path, check_files=False).recipe == loaded.recipe
    return ""
