"""What the model cards of all tasks have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run

LIBRARIES = {"pooled": "sentence-transformers", "adapter": "peft", "full": "transformers"}
"""Kind of model folder -> the library that wrote it."""


def folder_kind(run: Run) -> str:
    """`pooled`, `adapter` or `full`: a key of LIBRARIES."""
    if (run.model_dir / "modules.json").is_file():
        return "pooled"
    return "adapter" if (run.model_dir / "adapter_config.json").is_file() else "full"


def metadata(recipe: Recipe, run: Run, *, pipeline_tag: str) -> str:
    """The head of a card, between lines of three dashes: what the hub reads."""
    values: dict[str, Any] = {
        "library_name": LIBRARIES[folder_kind(run)],
        "pipeline_tag": pipeline_tag,
        "tags": ["ftkit"],
    }
    if not recipe.model.name_or_path.startswith(("/", "builtin:")):
        values["base_model"] = recipe.model.name_or_path
    stream = StringIO()
    YAML(typ="safe", pure=True).dump(values, stream)
    return f"---\n{stream.getvalue()}---"


def training_section(run: Run, facts: Iterable[tuple[str, object]]) -> str:
    """Facts of the training by name, and the whole recipe."""
    lines = "\n".join(f"- {name}: {value}" for name, value in facts)
    recipe = fenced(run.recipe_file.read_text(encoding="utf-8"), "yaml")
    return f"## How it was trained\n\n{lines}\n\nThe whole recipe:\n\n{recipe}"


def fenced(text: str, language: str = "text") -> str:
    """A block of code that shows any text as it is, one with fences of its own too.

    Example:
        >>> print(fenced("a ``` b"))
        ````text
        a ``` b
        ````
    """
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.removesuffix(chr(10))}\n{fence}"
