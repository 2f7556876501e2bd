"""A recipe back to YAML, every value written out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ftkit.methods.section import Section
from ftkit.recipe.defaults import is_read
from ftkit.recipe.schema import Recipe
from ftkit.recipe.yaml.scalars import resolve_scalar

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_PLAIN = re.compile(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_/.+-]*(:[A-Za-z0-9_/.+-]+)*")


def dump_recipe(recipe: Recipe) -> str:
    """YAML text that `load_recipe` reads back to an equal recipe.

    Keys that the task does not read are left out. Where max_steps is set, num_train_epochs decides nothing and is left
    out as a comment.
    """
    lines = [f"task: {recipe.task}"]
    for name in type(recipe).model_fields:
        section = getattr(recipe, name)
        if isinstance(section, Section) and (below := list(_section_lines(name, section, recipe.task))):
            lines += ["", f"{name}:", *below]
    return "\n".join(lines) + "\n"


def write_value(value: Any) -> str:
    """One value as YAML on one line.

    Example:
        >>> print(write_value({"yes": [1, 2e-5, "NA", "2e-5", None, "a: b"]}))
        {"yes": [1, 2.0e-05, NA, "2e-5", null, "a: b"]}
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(write_value(item) for item in value)}]"
        case dict():
            return "{" + ", ".join(f"{_quoted(str(key))}: {write_value(item)}" for key, item in value.items()) + "}"
    raise ValueError(f"no YAML for {type(value).__name__}")


def _section_lines(name: str, section: Section, task: str) -> Iterator[str]:
    values = {key: value for key, value in section.model_dump().items() if is_read(f"{name}.{key}", task)}
    for key, value in values.items():
        if key == "num_train_epochs" and values.get("max_steps") is not None:
            yield "  # num_train_epochs: not used, max_steps decides"
        else:
            yield f"  {key}: {write_value(value)}"


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    # YAML wants no point before an exponent, but people and older readers do: 2.0e-05
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _text(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and resolve_scalar(value) == value and value != "None"
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    """Double quotes, with everything outside printable ASCII and common letters escaped."""
    escaped = []
    for character in value:
        if character in _ESCAPES:
            escaped.append(_ESCAPES[character])
        elif character.isprintable() and ord(character) != 0xFEFF:
            escaped.append(character)
        else:
            escaped.append(f"\\U{ord(character):08X}")
    return '"' + "".join(escaped) + '"'
