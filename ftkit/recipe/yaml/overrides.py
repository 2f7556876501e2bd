"""Dotted overrides of the command line (`training.learning_rate=1e-3`), grafted into the recipe's tree."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ftkit.recipe.yaml.nodes import Flaw, Node, Place, compose

_WORD = re.compile(r"[^\s.=]+(\.[^\s.=]+)*")
_EXAMPLE = "write key=value, for example training.learning_rate=1e-3"


def apply_overrides(root: Node, overrides: Sequence[str]) -> list[Flaw]:
    """Set the keys that the overrides name; the first override is number 1.

    A value is read as YAML, as in the file. A section that is not there is made; a section that is given whole
    (`training={seed: 1}`) adds its keys to those that are there.

    Args:
        root: the recipe's tree, a mapping; changed in place.
        overrides: words of the command line.

    Returns:
        What is wrong with them.
    """
    flaws: list[Flaw] = []
    seen: dict[str, int] = {}
    for number, word in enumerate(overrides, start=1):
        place = Place(number, 0, 0)
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not _WORD.fullmatch(key):
            what = "has no `=`" if not equals else "has no key before the `=`"
            flaws.append(Flaw(place, "", f"`{word[:60]}` {what}", _EXAMPLE))
        elif key in seen:
            flaws.append(Flaw(place, key, f"override {seen[key]} sets it already", "keep one of the two"))
        else:
            seen[key] = number
            flaws.extend(_apply(root, key, text, place))
    return flaws


def _apply(root: Node, key: str, text: str, place: Place) -> list[Flaw]:
    value, flaws = compose(text, lambda _line, _column: place)
    if flaws:
        fix = "quote the value, once for the shell and once for YAML"
        return [
            Flaw(place, key, flaw.message, flaw.fix if flaw.key or "YAML" not in flaw.message else fix)
            for flaw in flaws
        ]
    if value is None:
        value = Node(None, place, place, plain=True)
    *path, last = key.split(".")
    section = root
    for depth, word in enumerate(path, start=1):
        assert isinstance(section.value, dict)
        below = section.value.setdefault(word, Node({}, place, place))
        if below.value is None and not below.broken:
            below.value = {}
        if not isinstance(below.value, dict):
            return [
                Flaw(place, key, f"{'.'.join(path[:depth])} has a value and no keys below it", "override the value")
            ]
        section = below
    assert isinstance(section.value, dict)
    earlier = section.value.get(last)
    if not path and earlier is not None and isinstance(earlier.value, dict) and isinstance(value.value, dict):
        earlier.value.update(value.value)
    else:
        section.value[last] = value
    return []
