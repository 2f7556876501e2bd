"""What pydantic found, in words for people: what was expected, what stands there, what to do."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rapidfuzz.distance import OSA

from ftkit.methods.table import METHODS
from ftkit.metrics.names import ALL_METRICS
from ftkit.recipe.nearest import nearest
from ftkit.recipe.yaml.nodes import Flaw, Node
from ftkit.recipe.yaml.scalars import resolve_scalar

MAX_SHOWN = 60
_TRUE_WORDS = ("yes", "on", "y", "1")
_FALSE_WORDS = ("no", "off", "n", "0")


class MisplacedValue(NamedTuple):
    """An error of pydantic, found again in the tree.

    Attributes:
        key: dotted path, with `[2]` for an element of a list.
        field: dotted path of the schema's field that it belongs to.
        node: what stands there; None for a missing key.
        depth: how deep in the field.
        error: pydantic's own record.
    """

    key: str
    field: str
    node: Node | None
    depth: int
    error: Mapping[str, Any]


def describe_errors(
    errors: Sequence[tuple[str, Mapping[str, Any]]], root: Node, fields: Mapping[str, Mapping[str, FieldInfo]]
) -> list[tuple[str, Flaw]]:
    """One flaw for each wrong value.

    Args:
        errors: name of a section, and one of `ValidationError.errors()` of its values.
        root: the tree that was validated.
        fields: section -> key -> field.

    Returns:
        (dotted key of the field, flaw) pairs.
    """
    located = [_locate(section, error, root) for section, error in errors]
    flaws = []
    for key in dict.fromkeys(item.key for item in located):
        group = [item for item in located if item.key == key]
        first = group[0]
        # a union complains once for each of its branches: the branch that got furthest was meant
        if any(other.field == first.field and other.depth > first.depth for other in located):
            continue
        flaws.append((first.field, _flaw(group, root, fields)))
    return flaws


def found(node: Node) -> str:
    """What stands in the recipe, in words: `the text "abc"`, `the number 5`, `nothing`."""
    match node.value:
        case None:
            return "nothing"
        case bool():
            return str(node.value).lower()
        case int() | float():
            return f"the number {shorten(node.raw) if node.raw else node.value}"
        case str():
            return f"the text {shorten(json.dumps(node.value, ensure_ascii=False))}"
        case list():
            return "a list"
        case _:
            return "a group of keys"


def shorten(text: str) -> str:
    """A long text cut for a message."""
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def expected(annotation: Any) -> str:
    """What a field takes, in words.

    Example:
        >>> expected(Literal["none"] | dict[str, float])
        'none, or keys with a number each'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return "the name of a metric" if arguments[0] is str else expected(arguments[0])
    if origin in (Union, types.UnionType):
        return ", or ".join(expected(part) for part in arguments if part is not type(None))
    if origin is Literal:
        words = ", ".join(str(word) for word in arguments)
        return words if len(arguments) == 1 else f"one of {words}"
    if origin in (list, Sequence):
        return f"a list, each {expected(arguments[0])}"
    if origin is dict:
        return "keys with a value each" if arguments[1] is Any else f"keys with {expected(arguments[1])} each"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys below it"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}.get(annotation, "a value")


def _locate(section: str, error: Mapping[str, Any], root: Node) -> MisplacedValue:
    location = [section, *error["loc"]]
    node, key, depth = root, "", 0
    for position, part in enumerate(location):
        value = node.value
        if isinstance(value, dict) and part in value:
            node, key = value[str(part)], f"{key}.{part}" if key else str(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            node, key = value[part], f"{key}[{part}]"
        elif error["type"] == "missing" and position == len(location) - 1:
            name = f"{key}.{part}" if key else str(part)
            return MisplacedValue(name, name, None, depth, error)
        else:
            continue  # the label of a union's branch, such as `list[str]`
        depth += 1
    field = ".".join(key.partition("[")[0].split(".")[:2])
    return MisplacedValue(key, field, node, depth, error)


def _flaw(group: Sequence[MisplacedValue], root: Node, fields: Mapping[str, Mapping[str, FieldInfo]]) -> Flaw:
    first = group[0]
    if first.node is None:
        return missing(first.key, root)
    section, _, name = first.field.partition(".")
    annotation = fields[section][name].annotation if name in fields[section] else None
    message, fix = _explain(group, first.node, annotation)
    return Flaw(first.node.place, first.key, message, fix)


_EXAMPLES = {
    "model": "write model: and below it name_or_path: builtin:minilm (or a hub id, or a folder)",
    "model.name_or_path": "a hub id, a folder, or builtin:NAME",
    "data": "write data: and below it train_file: my.csv",
    "method.type": f"one of {', '.join(METHODS)}",
}


def missing(key: str, root: Node) -> Flaw:
    """A required key that is not there, placed at its section."""
    section = key.rpartition(".")[0]
    place = root.place
    if isinstance(root.value, dict) and section in root.value:
        place = max(place, root.value[section].key_place)  # a section that nobody wrote has no line
    return Flaw(place, key, "missing", _EXAMPLES.get(key, "add it"))


def _explain(group: Sequence[MisplacedValue], node: Node, annotation: Any) -> tuple[str, str]:
    first, kind, context = group[0], group[0].error["type"], group[0].error.get("ctx", {})
    if first.field == "evaluation.metrics" and isinstance(node.value, str):
        return _metric(node.value)
    if len(group) == 1 and kind in _LIMITS:
        words, name = _LIMITS[kind]
        return f"must be {words.format(context.get(name))}, found {found(node)}", _limit_fix(first.field, node)
    if kind in ("string_too_short", "too_short"):
        return "must not be empty", ""
    if kind == "finite_number":
        return f"must be a finite number, found {found(node)}", ""
    return unlike(_wanted(group, first, annotation), node)


def unlike(wanted: str, node: Node) -> tuple[str, str]:
    """(what is wrong, what to do) about a value that is not what its key takes, in words."""
    return f"must be {wanted}, found {found(node)}", _type_fix(wanted, node)


_LIMITS = {
    "greater_than": ("above {:g}", "gt"),
    "greater_than_equal": ("at least {:g}", "ge"),
    "less_than": ("below {:g}", "lt"),
    "less_than_equal": ("at most {:g}", "le"),
    "string_too_long": ("at most {} character", "max_length"),
}


def _limit_fix(key: str, node: Node) -> str:
    if key == "data.delimiter" and node.value == "\\t":
        return 'a tab is written "\\t", in double quotes'
    return ""


def _wanted(group: Sequence[MisplacedValue], first: MisplacedValue, annotation: Any) -> str:
    """What the place takes: the element's type inside a list or mapping, else the field's."""
    inside = first.key != first.field
    if not inside:
        return expected(annotation)
    kinds = {"string_type": "a text", "int_type": "a whole number", "float_type": "a number"}
    words = [kinds[item.error["type"]] for item in group if item.error["type"] in kinds]
    return " or ".join(dict.fromkeys(words)) or expected(annotation)


def _metric(name: str) -> tuple[str, str]:
    near = nearest(name.lower(), ALL_METRICS)
    fix = f"did you mean {near}?" if near else f"one of {', '.join(ALL_METRICS)}, or evaluate:NAME"
    return f"no metric is called {shorten(json.dumps(name, ensure_ascii=False))}", fix


def _type_fix(wanted: str, node: Node) -> str:
    value = node.value
    if isinstance(value, str):
        return _text_fix(wanted, value, plain=node.plain)
    if "a text" in wanted and isinstance(value, bool | int | float):
        return f'put it in quotes: "{shorten(node.raw)}"'
    if wanted == "a whole number" and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"write {int(value)}"
    if wanted.startswith("a list") and isinstance(value, int | float):
        return f"write [{shorten(node.raw)}]"
    if value is None:
        return "write a value, or remove the key"
    return ""


def _text_fix(wanted: str, value: str, *, plain: bool) -> str:
    if wanted.startswith("one of ") or ", or " in wanted:
        words = wanted.split(", or ")[0].removeprefix("one of ").split(", ")
        by_distance = sorted(words, key=lambda word: OSA.distance(value.lower(), word))
        if OSA.distance(value.lower(), by_distance[0]) <= max(1, len(value) // 3):
            return f"did you mean {by_distance[0]}?"
    if "number" in wanted:
        return _number_fix(value, plain=plain)
    if wanted == "true or false":
        if value.lower() in ("true", "false"):
            return f"remove the quotes: {value.lower()}" if not plain else f"write {value.lower()}"
        return "write true" if value.lower() in _TRUE_WORDS else "write false" if value.lower() in _FALSE_WORDS else ""
    return f"write [{shorten(value)}]" if wanted.startswith("a list") else ""


def _number_fix(value: str, *, plain: bool) -> str:
    if not plain and isinstance(resolve_scalar(value), int | float):
        return f"remove the quotes: {value}"
    bare = value.replace("_", "").replace(",", "").replace(" ", "")
    if bare != value and isinstance(resolve_scalar(bare), int | float):
        return f"write {bare}"
    if value.endswith("%") and isinstance(share := resolve_scalar(value[:-1].strip()), int | float):
        return f"write {share / 100:g}"
    return ""
