from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.audit import token_statistics
from ftkit.data.dataset import Split, Splits
from ftkit.tasks.classification.audit import audit


def split(name: str, rows: list[tuple[str, int]]) -> Split:
    texts = pa.array([text for text, _ in rows], pa.string())
    labels = pa.array([label for _, label in rows], pa.int32())
    return Split(name, pa.table({"text": texts, "label": labels}), "a.csv")


def splits(
    train: list[tuple[str, int]],
    validation: list[tuple[str, int]],
    test: list[tuple[str, int]] | None = None,
    names: tuple[str, ...] = ("no", "yes"),
) -> Splits:
    return Splits(
        split("train", train),
        split("validation", validation),
        None if test is None else split("test", test),
        names,
        (),
        (),
    )


CLEAN = [(f"text {i}", i % 2) for i in range(40)]


def test_clean_data_has_counts_and_no_warning() -> None:
    found = audit(splits(CLEAN, [("other", 0), ("another", 1)]))
    assert found.rows == {"train": 40, "validation": 2}
    assert found.label_counts["train"] == {"no": 20, "yes": 20}
    assert found.majority_share == {"train": 0.5, "validation": 0.5}
    assert found.warnings == []


def test_duplicates_and_the_texts_with_conflicting_labels_are_counted() -> None:
    rows = [*CLEAN, ("Text  0", 0), ("text 0", 0), ("ＴＥＸＴ 1", 0), ("text 2", 0)]
    found = audit(splits(rows, [("other", 0), ("another", 1)]))
    assert found.duplicates == {"train": 4, "validation": 0}
    assert found.conflicts == {"train": 1, "validation": 0}
    assert found.warnings == [
        "1 text in train with different labels: at most one of them can be right.",
        "4 train rows (9.1%) with the text of an earlier row.",
    ]


def test_leaks_are_counted_in_the_later_split() -> None:
    found = audit(splits(CLEAN, [("text 1", 1), ("x", 0)], [("TEXT 1", 1), ("text 2", 0), ("y", 0), ("z", 1)]))
    assert found.leaks == {"train/validation": 1, "train/test": 2, "validation/test": 1}
    assert any(w.startswith("2 test rows (50.0%) with a text that is also in train: scores") for w in found.warnings)


def test_an_unbalanced_set_small_classes_and_absent_ones_are_named() -> None:
    rows = [(f"text {i}", 0) for i in range(90)] + [("a", 1), ("b", 1)]
    found = audit(splits(rows, [("other", 0)], names=("no", "yes", "never")))
    assert (found.majority_label, round(found.majority_share["train"], 3)) == ("no", 0.978)
    assert found.small_classes == {"yes": 2, "never": 0}
    assert found.warnings == [
        "Classes with fewer than 10 training rows: yes (2), never (0).",
        "Classes without a validation row: yes.",
        "97.8% of the training rows are no: always answering that scores as much, so look at f1_macro or matthews"
        " rather than accuracy.",
    ]


@pytest.mark.parametrize("text", ["cafÃ©", "itâ€™s", "Â£5", "a \ufffd b", "ï¿½2000"])
def test_the_marks_of_a_wrong_encoding_are_counted(text: str) -> None:
    found = audit(splits([*CLEAN, (text, 0), ("café Âme Ã la carte £5", 1)], [("other", 0), ("another", 1)]))
    assert found.wrongly_decoded == {"train": 1, "validation": 0}
    assert "wrong encoding" in found.warnings[0]


def test_empty_texts_and_label_spellings_are_named() -> None:
    found = audit(splits([*CLEAN, (" ", 0)], [("other", 0), ("another", 1)], names=("Ham", "ham ")))
    assert found.empty_texts == {"train": 1, "validation": 0}
    assert found.label_spellings == [["Ham", "ham "]]
    assert len(found.warnings) == 2


def test_an_audit_is_json() -> None:
    found = audit(splits(CLEAN, [("text 1", 1)], [("a", 0)]))
    assert json.loads(json.dumps(asdict(found))) == asdict(found)


def test_token_statistics_of_one_to_a_hundred() -> None:
    lengths = np.random.default_rng(0).permutation(np.arange(1, 101))
    found = token_statistics(lengths, 60)
    assert (found.mean, found.p50, found.p95, found.longest) == (50.5, 50, 95, 100)
    assert found.percent_truncated == 40.0
    assert found.length_for_99_percent == 100
    assert json.loads(json.dumps(asdict(found))) == asdict(found)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=400))
def test_the_length_for_99_percent_is_the_smallest_that_cuts_less_than_one_percent(values: list[int]) -> None:
    lengths = np.asarray(values)
    found = token_statistics(lengths, 10).length_for_99_percent
    assert (lengths > found).mean() < 0.01
    assert found == lengths.min() or (lengths > found - 1).mean() >= 0.01
