"""Values within objects: `a.b` names key b of the objects in column a."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftkit.data.columns.names import columns_of
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.unusable import Unusable


def names_within(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Every column that occurs, and behind each column of objects `column.key` for every key of them.

    Example:
        >>> names_within([{"id": 1, "translation": {"de": "ja", "en": "yes"}}])
        ['id', 'translation', 'translation.de', 'translation.en']
    """
    found: dict[str, None] = {}
    for name in columns_of(rows):
        found[name] = None
        objects = [value for row in rows if isinstance(value := row.get(name), Mapping)]
        if objects:
            found |= dict.fromkeys(f"{name}.{key}" for key in names_within(objects))
    return list(found)


def has(values: Mapping[str, object], name: str) -> bool:
    """Whether a row has a column of that name, or an object with that key."""
    if name in values:
        return True
    inner = ((values[head], rest) for head, rest in _cuts(name) if head in values)
    return any(isinstance(value, Mapping) and has(value, rest) for value, rest in inner)


def get(values: Mapping[str, object], name: str) -> object:
    """What stands there, None where nothing does."""
    try:
        return value_of(values, name)
    except Unusable:
        return None


def value_of(values: Mapping[str, object], name: str) -> object:
    """What stands in a column, or below a key of the object in it; a column whose own name has dots comes first.

    Raises:
        Unusable: it is absent or null, or what should hold it is no object.
    """
    return _value_of(values, name, name)


def _value_of(values: Mapping[str, object], name: str, shown: str) -> object:
    if name in values:
        if values[name] is None:
            raise Unusable(f"{shown} is null", "fill it in, or remove the row")
        return values[name]
    for head, rest in _cuts(name):
        if head in values:
            inner = values[head]
            if not isinstance(inner, Mapping):
                column = shown.removesuffix(f".{rest}")
                raise Unusable(f"{column} is {kind_of(inner)} instead of an object", f"write an object with {rest}")
            return _value_of(inner, rest, shown)
    raise Unusable(f"no {shown} in this row", f"add {shown}, or remove the row")


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """A name parted at each of its dots in turn."""
    places = (index for index, letter in enumerate(name) if letter == ".")
    return ((name[:place], name[place + 1 :]) for place in places)


def nested(values: Mapping[str, object]) -> dict[str, Any]:
    """A row in which `a.b` is key b of an object in column a.

    Example:
        >>> nested({"id": 1, "translation.de": "ja", "translation.en": "yes"})
        {'id': 1, 'translation': {'de': 'ja', 'en': 'yes'}}
    """
    row: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = name.split(".")
        inner = row
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return row
