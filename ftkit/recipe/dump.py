"""A recipe back to YAML, every value written out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ftkit.methods.section import Section
from ftkit.methods.table import METHODS
from ftkit.recipe.schema import Recipe
from ftkit.recipe.yaml.scalars import write_value


def dump_recipe(recipe: Recipe, *, comments: Sequence[str] = (), without: Collection[str] = ()) -> str:
    """YAML text that `read_recipe` reads back to an equal recipe.

    Where max_steps is set, num_train_epochs decides nothing and is left out as a comment.

    Args:
        recipe: of any task.
        comments: lines at the head.
        without: dotted keys that are left out.
    """
    lines = [*(f"# {line}" for line in comments), f"task: {recipe.task}"]
    for section, values in recipe.settings().items():
        lines += ["", f"{section}:"]
        for key, value in values.items():
            if key == "max_steps" and value is not None:
                lines.append("  # num_train_epochs: not used, max_steps decides")
            if f"{section}.{key}" not in without:
                lines.append(f"  {key}: {write_value(value)}")
    return "\n".join(lines) + "\n"


def changed(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """The recipe with other values, each section validated anew.

    Args:
        recipe: of any task.
        changes: dotted key -> value; the key `method` brings a whole other section.
    """
    sections: dict[str, Section] = {}
    for name in dict.fromkeys(key.partition(".")[0] for key in changes):
        section, values = type(getattr(recipe, name)), getattr(recipe, name).model_dump()
        if isinstance(other := changes.get(name), dict):
            section, values = METHODS[other["type"]], other
        inner = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith(f"{name}.")}
        sections[name] = section.model_validate(values | inner)
    return recipe.model_copy(update=sections)


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value of every value below others; a section without any is a value itself."""
    if isinstance(values, dict) and values:
        for name, below in values.items():
            yield from leaves(below, f"{path}.{name}" if path else str(name))
    else:
        yield path, values
