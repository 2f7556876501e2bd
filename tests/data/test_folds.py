"""Training rows in folds: look-alikes together, labels spread, and what is too little for it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ftkit.data.dataset import Split, Splits
from ftkit.data.folds import folded, folds_of
from ftkit.errors import UserError


def splits(*rows: tuple[str, int]) -> Splits:
    train = Split.of_rows("train", [{"text": text} for text, _ in rows])
    labels = np.array([label for _, label in rows], dtype=np.int32)
    train = Split("train", train.table.append_column("label", pa.array(labels)), "a.csv")
    return Splits(train, train, None, ("a", "b", "c"), (), ())


def test_every_fold_has_its_share_of_each_label_whatever_the_order_of_the_rows() -> None:
    labels = np.repeat([0, 1, 2], [50, 23, 7])
    keys = np.arange(80, dtype=np.uint64) + 1000
    folds = folds_of(keys, labels, num_folds=5, seed=3)
    counts = np.array([np.bincount(folds[labels == label], minlength=5) for label in range(3)])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert np.ptp(counts.sum(axis=0)) <= 1
    order = np.random.default_rng(0).permutation(80)
    np.testing.assert_array_equal(folds_of(keys[order], labels[order], num_folds=5, seed=3), folds[order])
    assert (folds_of(keys, labels, num_folds=5, seed=4) != folds).any()


def test_texts_made_after_one_pattern_are_in_one_fold() -> None:
    others = [(f"text {one} {two}", label) for label, one in enumerate("ab") for two in "cdefghijklmnopqrs"]
    made = folded(splits(*((f"You won £{number}!", 0) for number in (5, 250, 31)), *others), seed=0)
    assert made.folds is not None
    assert len(set(made.folds[:3].tolist())) == 1
    assert len(set(made.folds.tolist())) == 5
    assert len(made.validation) == len(made.train) == 37
    assert [split.name for split in made.apart()] == ["train"]


def test_a_pattern_that_the_data_are_made_of_is_spread_over_the_folds_and_that_is_said() -> None:
    rows = [(f"film number {number} is {word}", label) for number in range(40) for label, word in enumerate("ab")]
    made = folded(splits(*rows, *rows[:2]), seed=0)
    assert made.folds is not None
    assert np.ptp(np.bincount(made.folds)) <= 2
    assert made.folds[0] == made.folds[80]
    assert "look-alikes are too many" in made.notes[-1]


def test_few_texts_make_fewer_folds_and_one_of_each_label_none() -> None:
    made = folded(splits(("one", 0), ("two", 0), ("three", 0), ("four", 1), ("five", 1), ("six", 2)), seed=0)
    assert made.folds is not None
    assert set(made.folds.tolist()) == {0, 1, 2}
    assert any("other 2 of 3 folds" in note for note in made.notes)
    assert any("no head can know out of fold: c" in note for note in made.notes)
    with pytest.raises(UserError, match="each label has one text only"):
        folded(splits(("one", 0), ("two", 1)), seed=0)
