"""Further right answers: the lists of texts that outputs are measured against."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ftkit.data.chat_rows import Unusable, check_text
from ftkit.data.dataset import Split
from ftkit.data.reading.json_rows import kind_of

_SHAPE = 'write a list of texts: ["...", "..."]'


def read(value: object, name: str, *, target: str) -> list[str]:
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


def to_json(texts: Sequence[str]) -> str:
    """How a table holds them; letters stay letters, so that they can be searched."""
    return json.dumps(list(texts), ensure_ascii=False)


def group_by_prompt(split: Split) -> tuple[npt.NDArray[np.int64], list[list[str]]]:
    """The distinct prompts of a split, each with everything that is right as an answer to it.

    Args:
        split: with columns prompt, completion and perhaps references, N rows.

    Returns:
        The first row (G,) of each of G prompts, ascending, and for each the references of its rows (where there are
        none, their completions): each text once, in the order in which they occur.

    Example:
        >>> import pyarrow as pa
        >>> table = pa.table({"prompt": ["a", "b", "a"], "completion": ["1", "2", "3"]})
        >>> rows, texts = group_by_prompt(Split("test", table, "example"))
        >>> rows.tolist(), texts
        ([0, 1], [['1', '3'], ['2']])
    """
    first: list[int] = []
    groups: dict[str, dict[str, None]] = {}
    lists = "references" in split.table.column_names
    start = 0
    for batch in split.table.select(["prompt", "references" if lists else "completion"]).to_batches():
        prompts, answers = (column.to_pylist() for column in batch.columns)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start):
            if prompt not in groups:
                groups[prompt] = {}
                first.append(row)
            groups[prompt] |= dict.fromkeys(json.loads(answer) if lists else [answer])
        start += batch.num_rows
    return np.array(first, dtype=np.int64), [list(texts) for texts in groups.values()]
