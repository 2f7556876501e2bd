"""Texts that are right beside the target of a row: how a file has them, and how a table holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ftkit.data.reading.json_rows import kind_of
from ftkit.data.unusable import Unusable, check_text

_SHAPE = 'write a list of texts: ["...", "..."]'


def read_references(value: object, name: str, *, target: str) -> list[str]:
    """The references of a row, at least one; a single text is one.

    A CSV file can hold lists as JSON text only. Such a text is read as the list, unless the target is one itself.

    Args:
        value: what the file has.
        name: its column, for messages.
        target: of the row.

    Raises:
        Unusable: it is no list of texts, or there is nothing in it.
    """
    texts: object = value
    if isinstance(value, str):
        found = _decoded(value) if _decoded(target) is None else None
        texts = [value] if found is None else found
    if not isinstance(texts, list):
        raise Unusable(f"{name} is {kind_of(value)} instead of a list of texts", _SHAPE)
    if not texts:
        raise Unusable(f"{name} is an empty list", "fill it in, or remove the row")
    for number, text in enumerate(texts, 1):
        shown = name if texts == [value] else f"text {number} of {name}"
        if not isinstance(text, str):
            raise Unusable(f"{shown} is {kind_of(text)} instead of a string", _SHAPE)
        if not text.strip():
            raise Unusable(f"{shown} is empty", "fill it in, or remove it")
        check_text(text, name)
    return texts


def _decoded(text: str) -> list[object] | None:
    """The list of texts whose JSON text this is, None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def references_json(texts: Sequence[str]) -> str:
    """How a table holds them; letters stay letters, so that they can be searched."""
    return json.dumps(list(texts), ensure_ascii=False)
