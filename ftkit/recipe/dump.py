"""A recipe back to YAML, every value written out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ftkit.methods.section import Section
from ftkit.methods.table import METHODS
from ftkit.recipe.files import FILES, is_url
from ftkit.recipe.schema import Recipe
from ftkit.recipe.yaml.scalars import write_value

PATHS = ("output_dir", "file", *(key.partition(".")[2] for key in FILES))
"""Keys of sections that hold paths, whether or not something is there."""


def dump_recipe(
    recipe: Recipe, *, comments: Sequence[str] = (), without: Collection[str] = (), folders: bool = True
) -> str:
    """YAML text that `read_recipe` reads back to an equal recipe.

    Where max_steps is set, num_train_epochs decides nothing and is left out as a comment.

    Args:
        recipe: of any task.
        comments: lines at the head.
        without: dotted keys that are left out.
        folders: false writes of absolute paths the last part alone, and of URLs nothing secret, for other people.
    """
    lines = [*(f"# {line}" for line in comments), f"task: {recipe.task}"]
    for section, values in recipe.settings().items():
        lines += ["", f"{section}:"]
        for key, value in values.items():
            if key == "max_steps" and value is not None:
                lines.append("  # num_train_epochs: not used, max_steps decides")
            if f"{section}.{key}" not in without:
                lines.append(f"  {key}: {write_value(value if folders else _without_folders(key, value))}")
    return "\n".join(lines) + "\n"


def _without_folders(key: str, value: Any) -> Any:
    """A value of a recipe with the last part of each path in it; texts that only look like one stay."""
    if isinstance(value, list):
        return [_without_folders(key, one) for one in value]
    if isinstance(value, dict):
        return {name: _without_folders(name, below) for name, below in value.items()}
    if isinstance(value, str) and is_url(value):
        # what opens it is nobody else's business: a name and a password before the host, a token behind the path
        parts = urlsplit(value)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    prefix, path = ("evaluate:", value[9:]) if str(value).startswith("evaluate:") else ("", value)
    if not isinstance(path, str) or not os.path.isabs(path):
        return value
    # a template may begin with a slash too
    is_path = prefix or key in PATHS or os.path.lexists(path)
    return prefix + (os.path.basename(path.rstrip("/")) or path) if is_path else value


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
