"""Sources mixed by weight: how many examples of each an epoch has, and which, by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Splits
from ftkit.errors import UserError
from ftkit.metrics.scores import Integers

_SALT = 0x317
"""Keeps the draw apart from all others that are made with the same seed."""


def shares_of(examples: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Examples that each source gives an epoch, by its weight, of as many as there are in all.

    Each gets its share, rounded up or down so that the total is right (largest remainders). A source without examples
    gives none, whatever its weight.

    Args:
        examples: of each source (S,).
        weights: of each source (S,), at least 0; one with examples is above 0.

    Example:
        >>> shares_of([90, 10], [1, 1]), shares_of([5, 3, 0], [2, 1, 4])
        ([50, 50], [5, 3, 0])
    """
    there = np.where(np.asarray(examples) > 0, np.asarray(weights, dtype=np.float64), 0.0)
    exact = there * (sum(examples) / there.sum())
    counts = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: sum(examples) - int(counts.sum())]] += 1
    return [int(count) for count in counts]


@dataclass(frozen=True)
class Mixing:
    """How often the examples of each source are learnt.

    Attributes:
        names: of source 0, 1, ...
        sources: the number of each training example's source (N,).
        weights: of each source.
    """

    names: tuple[str, ...]
    sources: Integers
    weights: tuple[float, ...]

    @cached_property
    def examples(self) -> list[int]:
        """Of each source."""
        return [int(count) for count in np.bincount(self.sources, minlength=len(self.names))]

    @cached_property
    def an_epoch(self) -> list[int]:
        """Examples that each source gives an epoch; N in all."""
        return shares_of(self.examples, self.weights)

    @cached_property
    def passes(self) -> npt.NDArray[np.float64]:
        """How often each example of a source is learnt an epoch (S,)."""
        return np.asarray(self.an_epoch) / np.maximum(1, self.examples)

    def drawn(self, *, seed: int, epoch: int) -> Integers:
        """Numbers of the examples of an epoch (N,), source by source.

        A source is gone through in passes, each in an order of its own; an epoch goes on where the one before it
        stopped, so that no example is drawn once more before every other of its source was drawn as often.
        """
        parts = []
        for number, (count, share) in enumerate(zip(self.examples, self.an_epoch, strict=True)):
            if not share:
                continue
            members, places = np.flatnonzero(self.sources == number), np.arange(epoch * share, (epoch + 1) * share)
            for turn in range(int(places[0]) // count, int(places[-1]) // count + 1):
                order = np.random.default_rng([seed, _SALT, number, turn]).permutation(count)
                parts.append(members[order[places[places // count == turn] % count]])
        return np.concatenate(parts)

    def facts(self) -> dict[str, dict[str, float]]:
        """Counts by source, JSON-able."""
        return {
            name: {"examples": count, "an_epoch": share, "passes_an_epoch": round(float(passes), 4)}
            for name, count, share, passes in zip(self.names, self.examples, self.an_epoch, self.passes, strict=True)
        }

    def of_targets(self, targets: Integers) -> npt.NDArray[np.float64]:
        """Each source's share (S,) of the targets of an epoch, of which each example has so many (N,)."""
        counted = np.bincount(self.sources, weights=targets, minlength=len(self.names)) * self.passes
        found: npt.NDArray[np.float64] = counted / max(1.0, float(counted.sum()))
        return found

    def lines(self, targets: Integers | None = None) -> list[str]:
        """What becomes of each source, a sentence each; with targets of each example (N,) where these are tokens."""
        shares = np.zeros(len(self.names)) if targets is None else self.of_targets(targets)
        return [
            f"{name}: {share / len(self.sources):.1%} of an epoch, {share:,} of {len(self.sources):,} examples"
            + (f" and {of_targets:.1%} of the tokens that are learnt" if targets is not None else "")
            + f"; it has {count:,}, each learnt {passes:.3g} times an epoch"
            for name, count, share, passes, of_targets in zip(
                self.names, self.examples, self.an_epoch, self.passes, shares, strict=True
            )
            if count
        ]


def mixing_told(
    splits: Splits, rows: Integers, say: Callable[[str], None], *, targets: Integers | None = None
) -> Mixing | None:
    """As `mixing_of`; says how often the examples of each source are learnt, where there are several.

    Args:
        splits: the data.
        rows: the training row that each example is made of (N,).
        say: hears of it.
        targets: tokens of each example that are learnt (N,); None where a label is.
    """
    mixing = mixing_of(splits, rows)
    for line in () if mixing is None else mixing.lines(targets):
        say(line)
    return None if splits.weights == () else mixing


def mixing_of(splits: Splits, rows: Integers) -> Mixing | None:
    """How the examples of training rows are mixed: where nobody gave weights, each is learnt once an epoch.

    Args:
        splits: the data; of one source there is nothing to be mixed.
        rows: the training row that each example is made of (N,).

    Raises:
        UserError: a source has a weight, and nothing of it would be learnt.
    """
    numbers, names = splits.train.source_numbers, splits.train.source_names
    if numbers is None:
        return None
    once = tuple(float(count) for count in np.bincount(numbers[rows], minlength=len(names)))
    mixing = Mixing(names, numbers[rows], splits.weights or once)
    for name, weight, count, share in zip(names, splits.weights, mixing.examples, mixing.an_epoch, strict=False):
        if weight and not count:
            raise UserError(
                f"no training example of the source {name} is left, which has a weight",
                fix="raise data.max_train_samples, or take the source out",
            )
        if weight and not share:
            raise UserError(
                f"the weight of the source {name} is too small for one example of an epoch",
                fix="raise it, or take the source out",
            )
    return mixing


def label_counts(splits: Splits) -> npt.NDArray[Any]:
    """Training rows of each label (K,), each as often as it is learnt an epoch."""
    mixing = mixing_of(splits, np.arange(len(splits.train))) if splits.weights else None
    times = None if mixing is None else mixing.passes[mixing.sources]
    return np.bincount(splits.train.labels, weights=times, minlength=len(splits.label_names))
