"""The entries of a list of sources while a recipe is read: their keys, and the files that they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftkit.recipe.data_section import FILE_KEYS
from ftkit.recipe.files import FILES, Located, locate_data
from ftkit.recipe.keys import Answer, answer_unknown, keys_of
from ftkit.recipe.nearest import nearest
from ftkit.recipe.reading import Reading
from ftkit.recipe.sources.section import SourceSpec
from ftkit.recipe.yaml.nodes import Flaw, Node

Say = Callable[[str, Located], None]
"""(dotted key of a path, what was found) -> told, where nothing is there."""


_CALLED = {
    **dict.fromkeys(("path", "data_files", "train_file", "file_name", "filename", "data_path"), "file"),
    **dict.fromkeys(("ratio", "probability", "proportion", "sampling_weight", "share", "weights"), "weight"),
    **dict.fromkeys(("train_split", "dataset_split"), "split"),
}
"""What keys of a source are called elsewhere."""


def refuse_unknown_keys(reading: Reading) -> None:
    """Report keys that no source has, and read misspelt ones on as if they had been spelt right."""
    for key in FILE_KEYS:
        node = reading.below("data").get(key)
        for place, entry in enumerate(node.value if node is not None and isinstance(node.value, list) else ()):
            if isinstance(entry.value, dict):
                _refuse_unknown(reading, f"data.{key}[{place}]", entry.value)


def _refuse_unknown(reading: Reading, path: str, below: dict[str, Node]) -> None:
    known = _source_class(reading).model_fields
    for key in [key for key in below if key not in known]:
        child = below.pop(key)
        meant = _CALLED.get(key) or nearest(key, known, second_choice=below)
        if meant is not None:
            answer = Answer("no such key", f"did you mean {meant}?")
            below.setdefault(meant, child)
        elif key in reading.own["data"]:
            answer = Answer("counts for all sources", f"write data.{key}")
        elif key in keys_of("data", reading.method, reading.tasks):
            answer = Answer(f"this recipe's task, {reading.task.name}, does not read it", "remove it")
        else:
            found = answer_unknown("data", key, method=reading.method, task=reading.task, tasks=reading.tasks)
            keys_here = found.fix.startswith("keys here:")
            answer = Answer(found.message, f"keys of a source: {', '.join(known)}") if keys_here else found
        reading.flaws.append(Flaw(child.key_place, f"{path}.{key}", answer.message, answer.fix))


def _source_class(reading: Reading) -> type[SourceSpec]:
    found: type[SourceSpec] = getattr(reading.task.classes(reading.method)["data"], "source_class", SourceSpec)
    return found


def located_entries(entries: Sequence[str | SourceSpec], key: str, base: Path, say: Say) -> list[Any]:
    """The entries of a list with their paths made absolute.

    Args:
        entries: as they were validated.
        key: dotted key of the list.
        base: what a relative path is relative to.
        say: is told of each path.
    """
    return [_located(entry, f"{key}[{place}]", base, say) for place, entry in enumerate(entries)]


def _located(entry: str | SourceSpec, key: str, base: Path, say: Say) -> str | SourceSpec:
    if isinstance(entry, str):
        found = locate_data(entry, base)
        say(key, found)
        return found.value
    changes: dict[str, str] = {}
    for name, locate in (("file", locate_data), ("dataset_name", FILES["data.dataset_name"])):
        if (text := getattr(entry, name)) is not None:
            found = locate(text, base)
            say(f"{key}.{name}", found)
            changes[name] = found.value
    return entry.model_copy(update=changes)
