"""Made-up rows with the columns and labels that a recipe names, for a data set that is not on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ftkit.recipe.schema import DataSpec

ROWS = 64
_SUBJECTS = ("the parcel", "my account", "this film", "a question", "the report", "our order", "the answer")
_VERBS = ("came late", "works again", "is hard to read", "was sent twice", "surprised everybody", "costs too much")
_LONG = 40
"""The first text is so many sentences long, so that something has to be cut."""


def write_made_up(spec: DataSpec, folder: Path, *, labels: Sequence[str]) -> DataSpec:
    """Write made-up splits and describe them.

    Args:
        spec: names a data set; its columns, labels and splits are followed where it names them.
        folder: an existing folder to write to.
        labels: the label names to use where `spec` has none; two or more.

    Returns:
        The same `spec` with files in place of the data set.
    """
    names = [str(name) for name in spec.label_names] if spec.label_names else list(labels)
    splits = ["train", "validation", *(["test"] if spec.test_split else [])]
    files = {f"{split}_file": folder / f"{split}.jsonl" for split in splits}
    for number, file in enumerate(files.values()):
        rows = (_row(spec, index, shift=number, label=names[index % len(names)]) for index in range(_rows(names)))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    changes: dict[str, object] = {key: str(file) for key, file in files.items()}
    return spec.model_copy(update={**changes, "dataset_name": None, "encoding": "utf-8"})


def _rows(names: Sequence[str]) -> int:
    return max(ROWS, 3 * len(names))


def _row(spec: DataSpec, index: int, *, shift: int, label: str) -> dict[str, str]:
    subject = _SUBJECTS[(index + shift) % len(_SUBJECTS)]
    verb = _VERBS[(index * 5 + shift) % len(_VERBS)]
    text = " ".join([f"{subject} {verb}, said number {index} of {label}."] * (_LONG if index == 0 else 1))
    pair = {spec.text_pair_column: f"{subject} {verb}."} if spec.text_pair_column else {}
    return {spec.text_column or "text": text, **pair, spec.label_column or "label": label}
