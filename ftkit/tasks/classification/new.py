"""What a head of rows tells `ftkit new` of a classifier: a text, or two, and a label."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.data.look import FileHead, is_labelled, labelled_recipe
from ftkit.recipe.new import starting_point

if TYPE_CHECKING:
    from ftkit.recipe.new import NewRecipe

columns = frozenset({"text", "text_pair", "label"})


def usual_start(named: Collection[str]) -> str:
    """The starting point where neither one nor data is named."""
    return "text-pairs" if "text_pair" in named else "classify-frozen"


def told_by(head: FileHead) -> str | None:
    """Why the data are for this task, in words, which may be none; None where they do not look like it."""
    return "" if is_labelled(head) else None


def new_recipe(head: FileHead, *, start: str | None, path: Path, model: str | None) -> NewRecipe:
    """Fill a starting point in for a data file."""
    return labelled_recipe(head, starting_point(start or usual_start(head.named)), path=path, model=model)
