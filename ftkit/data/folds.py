"""The training rows in folds, each scored by a model that learnt from the others: none is lost to validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ftkit.data.dataset import Split, Splits
from ftkit.data.duplicates import mix
from ftkit.data.labels import shortened
from ftkit.data.split import held_out
from ftkit.errors import UserError

FOLDS = 5
"""Folds, where there are rows enough."""


def folds_of(keys: np.ndarray, labels: np.ndarray, *, num_folds: int, seed: int) -> np.ndarray:
    """Fold of each row (N,): rows with equal keys in one, and the texts of each label spread evenly.

    Args:
        keys: (N,) integers, equal for rows that belong together.
        labels: (N,) label indices; rows that belong together count for the label of the first.
        num_folds: F, at most the number of different keys, or folds are empty.

    Example:
        >>> folds_of(np.array([1, 1, 2, 3], dtype=np.uint64), np.array([0, 0, 1, 1]), num_folds=2, seed=0).tolist()
        [0, 0, 0, 1]
    """
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    order = np.lexsort((mix(keys[first], seed), labels[first]))
    fold = np.empty(len(first), dtype=np.int64)
    # dealt like cards, label by label
    fold[order] = np.arange(len(first)) % num_folds
    return fold[group]


def folded(splits: Splits, *, seed: int) -> Splits:
    """The same with the training rows as validation rows, to be scored out of fold.

    Raises:
        UserError: no label has two texts.
    """
    train, names = splits.train, splits.label_names
    keys, together = _together(train, len(names))
    texts_of_label = _texts_of_label(train, keys, len(names))
    num_folds = min(FOLDS, int(texts_of_label.max()))
    if num_folds < 2:
        raise UserError(
            f"{len(train)} rows cannot be told apart in folds: each label has one text only",
            where=train.source,
            fix="add rows, or name a data.validation_file",
        )
    few = f" (more would be empty of the label with most texts, {num_folds})" if num_folds < FOLDS else ""
    notes = [
        f"no validation set: every training row is scored out of fold, by a head that learnt from the other"
        f" {num_folds - 1} of {num_folds} folds{few}; {together} in one fold, labels spread evenly"
        f" (data.validation: folds, seed {seed})"
    ]
    if lone := [names[label] for label in np.flatnonzero(texts_of_label == 1)]:
        notes.append(f"labels with one text only, which no head can know out of fold: {shortened(lone)}")
    return replace(
        splits,
        validation=held_out(train, train.table, f"out of fold: {train.source}"),
        folds=folds_of(keys, train.strata, num_folds=num_folds, seed=seed),
        notes=(*splits.notes, *notes),
    )


def _together(train: Split, num_labels: int) -> tuple[np.ndarray, str]:
    """Keys (N,) of the rows that belong in one fold, and what these are in words.

    Look-alikes, unless that takes a label's texts to learn from, or a pattern is half a fold: then the pattern is what
    the data are made of, and not a copy.
    """
    exact, loose = train.keys, train.lookalike_keys
    enough = np.minimum(_texts_of_label(train, exact, num_labels), FOLDS)
    largest = np.unique(loose, return_counts=True)[1].max()
    if (_texts_of_label(train, loose, num_labels) >= enough).all() and largest <= max(2, len(train) / (2 * FOLDS)):
        return loose, "look-alike texts"
    return exact, "equal texts (look-alikes are too many to be kept together)"


def _texts_of_label(train: Split, keys: np.ndarray, num_labels: int) -> np.ndarray:
    """Different texts of each label (K,)."""
    _, first = np.unique(keys, return_index=True)
    return np.bincount(train.labels[first], minlength=num_labels)
