"""Made-up rows with the columns that a recipe names, for a data set that is not on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftkit.recipe.schema import DataSpec

MADE_UP_ROWS = 64
_SUBJECTS = ("the parcel", "my account", "this film", "a question", "the report", "our order", "the answer")
_VERBS = ("came late", "works again", "is hard to read", "was sent twice", "surprised everybody", "costs too much")
_LONG = 40
"""The first text is so many sentences long, so that something has to be cut."""


MadeUpRow = Callable[..., dict[str, Any]]
"""(spec, *, sentence, text, label) -> a row with the columns that a recipe names."""


def write_made_up(spec: DataSpec, folder: Path, made_up_row: MadeUpRow, *, labels: Sequence[str] = ()) -> DataSpec:
    """Write made-up splits and describe them.

    Args:
        spec: names a data set; its columns, labels and splits are followed where it names them.
        folder: an existing folder to write to.
        made_up_row: makes a row of a sentence, a text and a label.
        labels: where examples have some, the names to use where `spec` has none; two or more.

    Returns:
        The same `spec` with files in place of the data set.
    """
    names = [str(name) for name in spec.label_names] if labels and spec.label_names else list(labels) or [""]
    splits = ["train", "validation", *(["test"] if spec.test_split else [])]
    files = {f"{split}_file": folder / f"{split}.jsonl" for split in splits}
    for shift, file in enumerate(files.values()):
        rows = []
        for index in range(max(MADE_UP_ROWS, 3 * len(names))):
            sentence, label = _sentence(index, shift), names[index % len(names)]
            said = f"{sentence}, said number {index}{f' of {label}' if label else ''}."
            text = " ".join([said] * (_LONG if index == 0 else 1))
            rows.append(made_up_row(spec, sentence=sentence, text=text, label=label))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    changes: dict[str, object] = {key: str(file) for key, file in files.items()}
    return spec.model_copy(update={**changes, "dataset_name": None, "encoding": "utf-8"})


def _sentence(index: int, shift: int) -> str:
    return f"{_SUBJECTS[(index + shift) % len(_SUBJECTS)]} {_VERBS[(index * 5 + shift) % len(_VERBS)]}"
