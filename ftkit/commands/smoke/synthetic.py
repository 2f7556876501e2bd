"""Made-up rows with the columns that a recipe names, for a data set that is not on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftkit.data.prompting import parse_template
from ftkit.recipe.schema import DataSpec

MADE_UP_ROWS = 64
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
    return _write(
        spec, folder, _rows(names), lambda index, shift: _row(spec, index, shift=shift, label=names[index % len(names)])
    )


def write_made_up_language(spec: DataSpec, folder: Path) -> DataSpec:
    """The same for a language model: chats, prompts with completions or texts, in the columns that `spec` names."""
    return _write(spec, folder, MADE_UP_ROWS, lambda index, shift: _nested(_language_row(spec, index, shift=shift)))


def write_made_up_pairs(spec: DataSpec, folder: Path) -> DataSpec:
    """The same for sources and targets; labels that are written as text are made up by `write_made_up`."""
    return _write(spec, folder, MADE_UP_ROWS, lambda index, shift: _nested(_pair_row(spec, index, shift=shift)))


def _write(spec: DataSpec, folder: Path, num_rows: int, row: Callable[[int, int], dict[str, Any]]) -> DataSpec:
    splits = ["train", "validation", *(["test"] if spec.test_split else [])]
    files = {f"{split}_file": folder / f"{split}.jsonl" for split in splits}
    for shift, file in enumerate(files.values()):
        lines = (json.dumps(row(index, shift)) + "\n" for index in range(num_rows))
        file.write_text("".join(lines), encoding="utf-8")
    changes: dict[str, object] = {key: str(file) for key, file in files.items()}
    return spec.model_copy(update={**changes, "dataset_name": None, "encoding": "utf-8"})


def _rows(names: Sequence[str]) -> int:
    return max(MADE_UP_ROWS, 3 * len(names))


def _row(spec: DataSpec, index: int, *, shift: int, label: str) -> dict[str, str]:
    sentence = _sentence(index, shift)
    text = " ".join([f"{sentence}, said number {index} of {label}."] * (_LONG if index == 0 else 1))
    pair = {spec.text_pair_column: f"{sentence}."} if spec.text_pair_column else {}
    return {spec.text_column or "text": text, **pair, spec.label_column or "label": label}


def _language_row(spec: DataSpec, index: int, *, shift: int) -> dict[str, Any]:
    sentence = _sentence(index, shift)
    text = " ".join([f"{sentence}, said number {index}."] * (_LONG if index == 0 else 1))
    if spec.messages_column is not None:
        turns = [("user", f"Is it true that {sentence}?"), ("assistant", text)]
        return {spec.messages_column: [{"role": role, "content": content} for role, content in turns]}
    if spec.template is not None:
        return dict.fromkeys(parse_template(spec.template).fields, text)
    if spec.prompt_column is not None and spec.completion_column is not None:
        return {spec.prompt_column: f"{sentence}, is it?", spec.completion_column: text}
    return {spec.text_column or "text": text}


def _pair_row(spec: DataSpec, index: int, *, shift: int) -> dict[str, Any]:
    sentence = _sentence(index, shift)
    source = " ".join([f"{sentence}, said number {index}."] * (_LONG if index == 0 else 1))
    if spec.template is not None:
        values: dict[str, Any] = dict.fromkeys(parse_template(spec.template).fields, source)
    else:
        values = {spec.source_column or "source": source, spec.target_column or "target": f"{sentence}."}
    if spec.references_column is not None:
        values[spec.references_column] = [f"{sentence}.", f"it is said that {sentence}."]
    return values


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row in which `a.b` is key b of an object in column a."""
    row: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = name.split(".")
        inner = row
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return row


def _sentence(index: int, shift: int) -> str:
    return f"{_SUBJECTS[(index + shift) % len(_SUBJECTS)]} {_VERBS[(index * 5 + shift) % len(_VERBS)]}"
