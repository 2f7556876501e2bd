"""Training rows that stand in the data already are left out, and it is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ftkit.data.dataset import Splits
from ftkit.errors import UserError
from ftkit.recipe.data_section import DataSpec
from ftkit.tasks import causal_lm, classification, seq2seq
from ftkit.tasks.table import task_rules


def lines(path: Path, rows: Sequence[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def files(folder: Path, train: Sequence[dict[str, str]], validation: Sequence[dict[str, str]]) -> dict[str, str]:
    return {
        "train_file": lines(folder / "train.jsonl", train),
        "validation_file": lines(folder / "validation.jsonl", validation),
    }


def note(splits: Splits) -> str:
    return next(note for note in splits.notes if "data.drop_duplicates" in note)


def spec(task: str = "classification", **fields: Any) -> DataSpec:
    found: Any = task_rules()[task].classes("full")["data"].model_validate(fields)
    return found


def test_labelled_rows_that_repeat_or_stand_in_validation_are_left_out_of_train_alone(tmp_path: Path) -> None:
    train = [
        {"text": "a good film", "label": "good"},
        {"text": "A good  FILM", "label": "bad"},
        {"text": "a bad film", "label": "bad"},
        {"text": "an odd film", "label": "odd"},
        {"text": "a long film", "label": "bad"},
    ]
    held_out = [{"text": "an odd film", "label": "odd"}, {"text": "an odd film", "label": "odd"}]
    named = files(tmp_path, train, held_out)
    splits = classification.load_splits(spec(**named, drop_duplicates=True), seed=0)
    assert splits.train.texts == ["a good film", "a bad film", "a long film"]
    assert len(splits.validation) == 2
    assert note(splits).startswith("2 of 5 training rows left out: 1 stand in a set that measures, 1 repeat")
    assert any("1 of the training rows left out have another label" in text for text in splits.notes)
    assert any(text.endswith("after that: odd") for text in splits.notes)
    assert len(classification.load_splits(spec(**named), seed=0).train) == 5


def test_documents_and_pairs_are_compared_whole(tmp_path: Path) -> None:
    texts = [{"text": f"document {number % 3}"} for number in range(6)]
    named = files(tmp_path, texts, [{"text": "document 2"}])
    documents = causal_lm.load_splits(spec("causal_lm", **named, text_column="text", drop_duplicates=True), seed=0)
    assert documents.train.texts == ["document 0", "document 1"]
    pairs = [{"source": "one", "target": "1"}, {"source": "one", "target": "I"}, {"source": "one", "target": "1"}]
    named = files(tmp_path, pairs, [{"source": "two", "target": "2"}])
    columns = {"source_column": "source", "target_column": "target"}
    read = seq2seq.load_splits(spec("seq2seq", **named, **columns, drop_duplicates=True), seed=0)
    assert read.train.table.column("completion").to_pylist() == ["1", "I"]


def test_a_training_set_that_is_validation_again_is_refused(tmp_path: Path) -> None:
    rows = [{"text": f"a text about {number}", "label": "ab"[number % 2]} for number in range(8)]
    with pytest.raises(UserError, match="every one of 8 training rows"):
        classification.load_splits(spec(**files(tmp_path, rows, rows), drop_duplicates=True), seed=0)
