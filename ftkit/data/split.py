"""Splitting a validation set off, and drawing samples: seeded, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftkit.data.duplicates import mix


@dataclass(frozen=True)
class Division:
    """Which rows go to validation.

    Attributes:
        validation: (N,) bool.
        lone: labels whose rows are all in training because they have one text only.
    """

    validation: np.ndarray
    lone: tuple[int, ...]


def split_off(keys: np.ndarray, labels: np.ndarray, *, size: float, seed: int) -> Division:
    """Choose validation rows: stratified by label, rows with equal keys on one side.

    Each label gets its share of the validation rows, rounded up or down so that the total is right. Within a label,
    texts are ordered by a hash of text and seed and taken from the front, so the choice depends neither on the order
    of the rows nor on the platform, and adding rows moves few of the others. A text that occurs several times counts
    for the label of its first row; a text with more copies than there is room for stays in training.

    Args:
        keys: (N,) uint64, equal for duplicate texts (`Split.keys`).
        labels: (N,) label indices.
        size: share of the rows below 1, else number of rows.
        seed: another seed, another choice.

    Raises:
        ValueError: a size that is not above 0 and below the number of rows, or not a whole number of rows.
    """
    num_rows = len(keys)
    total = _rows_wanted(size, num_rows)
    _, first, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    group_labels = labels[first]
    order = np.argsort(mix(keys[first], seed), kind="stable")
    rows_of_label = np.bincount(group_labels, weights=counts).astype(np.int64)
    groups_of_label = np.bincount(group_labels)
    quotas = _quotas(rows_of_label, groups_of_label, total)
    chosen = np.zeros(len(counts), dtype=bool)
    by_label = order[np.argsort(group_labels[order], kind="stable")]
    ends = np.cumsum(groups_of_label)
    for label, quota in enumerate(quotas):
        members = by_label[ends[label] - groups_of_label[label] : ends[label]]
        chosen[members[_fill(counts[members], int(quota))]] = True
    return Division(chosen[group], tuple(int(label) for label in np.flatnonzero(groups_of_label == 1)))


def sample(num_rows: int, size: int, *, seed: int) -> np.ndarray:
    """Mask (N,) of `size` rows drawn without replacement; all of them when there are no more."""
    mask = np.zeros(num_rows, dtype=bool)
    # the salt keeps the draw from following the order in which split_off took its rows
    mask[np.argsort(mix(np.arange(num_rows, dtype=np.uint64), seed + 0x5A17), kind="stable")[:size]] = True
    return mask


def _rows_wanted(size: float, num_rows: int) -> int:
    if size >= 1 and size != int(size):
        raise ValueError(f"{size} is neither a share below 1 nor a whole number of rows")
    total = max(1, round(size * num_rows)) if size < 1 else int(size)
    if size <= 0 or total >= num_rows:
        raise ValueError(f"{total} validation rows cannot be taken from {num_rows}")
    return total


def _quotas(rows: np.ndarray, groups: np.ndarray, total: int) -> np.ndarray:
    """Validation rows for each label: largest remainders, none for labels of a single text."""
    exact = rows * (total / rows.sum())
    quotas = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(-(exact - quotas), kind="stable")
    by_remainder = by_remainder[(groups > 1)[by_remainder] & (exact > quotas)[by_remainder]]
    quotas[by_remainder[: max(0, total - int(quotas.sum()))]] += 1
    return np.where(groups > 1, np.minimum(quotas, rows - 1), 0)


def _fill(sizes: np.ndarray, room: int) -> np.ndarray:
    """Indices of groups, from the front, whose sizes add up to `room` or as near below it as they go."""
    taken = int(np.searchsorted(np.cumsum(sizes), room, side="right"))
    chosen = list(range(taken))
    room -= int(sizes[:taken].sum())
    rest = np.arange(taken, len(sizes))
    while room > 0:
        rest = rest[sizes[rest] <= room]
        if len(rest) == 0:
            break
        chosen.append(int(rest[0]))
        room -= int(sizes[rest[0]])
        rest = rest[1:]
    return np.asarray(chosen, dtype=np.int64)
