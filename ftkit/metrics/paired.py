"""Differences of two models on the same rows: intervals by resampling rows, p by exchanging the models' answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import MAX_ELEMENTS, MAX_UNITS, RESAMPLES, Bootstrap, with_interval
from ftkit.metrics.counts import Cells, f1_by_class, macro
from ftkit.metrics.scores import Floats, Integers


class Gaps(NamedTuple):
    """A metric that is a weighted mean over rows: run minus baseline (N,), weights (N,), what else to know."""

    values: Floats
    weights: Floats
    note: str = ""


class Worth(NamedTuple):
    """A difference with its 95 % interval and its two-sided p."""

    value: float
    low: float | None
    high: float | None
    p: float
    note: str


def mean_worth(gaps: Gaps, *, seed: int) -> Worth:
    """Weighted mean with a paired bootstrap interval; p by exchanging the two runs' rows at random.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 10 and 15; Yeh 2000, More Accurate
    Tests for the Statistical Significance of Result Differences.
    """
    products = gaps.values * gaps.weights
    sums = Bootstrap(RESAMPLES, seed).sums(np.stack([products, gaps.weights], axis=1))
    shifted = np.random.default_rng([seed, 5]).permutation(products[products != 0])
    # many rows are exchanged in groups, as wholes, which leaves the variance as it was
    units = np.bincount(np.arange(len(shifted)) % MAX_UNITS, weights=shifted)

    def exchanged(random: np.random.Generator, size: int) -> Floats:
        signs = 2.0 * random.integers(0, 2, size=(size, len(units)), dtype=np.int8) - 1.0
        return np.asarray(signs @ units, dtype=np.float64)

    p = _p_of_exchange(float(products.sum()), exchanged, width=len(units), seed=seed)
    value = float(products.sum() / gaps.weights.sum())
    return _worth(value, sums[:, 0] / sums[:, 1], p, n=len(products), note=gaps.note)


def f1_worth(expected: Integers, before: Integers, after: Integers, *, num_classes: int, seed: int) -> Worth:
    """As `mean_worth` for the difference of two macro F1, from how often each (expected, before, after) occurs."""
    triples = np.stack([expected, before, after], axis=1)
    cells, first, counts = np.unique(triples, axis=0, return_index=True, return_counts=True)
    # in order of the rows: the same draws whichever run is the baseline
    order = np.argsort(first)
    (labels, one, other), counts = cells[order].T, counts[order]
    twice = np.concatenate([labels, labels]), np.concatenate([one, other]), np.concatenate([other, one])

    def gap(kept: NDArray[np.integer[Any]], swapped: NDArray[np.integer[Any]]) -> Floats:
        drawn = np.concatenate([kept, swapped], axis=1)
        before, after = (Cells(twice[0], predicted, num_classes).sum_by_class(drawn) for predicted in twice[1:])
        return macro(after, f1_by_class(after)) - macro(before, f1_by_class(before))

    def exchanged(random: np.random.Generator, size: int) -> Floats:
        swapped = random.binomial(counts, 0.5, size=(size, len(counts)))
        return gap(counts - swapped, swapped)

    resampled = np.concatenate([gap(some, 0 * some) for some in Bootstrap(RESAMPLES, seed).cell_counts(counts)])
    value = float(gap(counts[None], 0 * counts[None])[0])
    p = _p_of_exchange(value, exchanged, width=2 * len(counts), seed=seed)
    return _worth(value, resampled, p, n=len(expected))


def _p_of_exchange(
    observed: float, exchanged: Callable[[np.random.Generator, int], Floats], *, width: int, seed: int
) -> float:
    """Two-sided p: how often chance exchanges of the two runs' answers make as large a difference."""
    random, size = np.random.default_rng([seed, 6]), max(1, MAX_ELEMENTS // max(1, width))
    as_large = 0
    for start in range(0, RESAMPLES, size):
        found = np.abs(exchanged(random, min(size, RESAMPLES - start)))
        # sums in another order differ in their last digits
        as_large += int((found >= abs(observed) * (1 - 1e-9) - 1e-12).sum())
    return (1 + as_large) / (1 + RESAMPLES)


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p of as uneven a split of the rows that one of two models alone got right.

    Source: McNemar 1947, Note on the Sampling Error of the Difference Between Correlated Proportions (exact binomial).

    Example:
        >>> mcnemar(0, 6), mcnemar(3, 3)
        (0.03125, 1.0)
    """
    from scipy.stats import binomtest

    return float(binomtest(one, one + other).pvalue) if one + other else 1.0


def _worth(value: float, resampled: Floats, p: float, *, n: int, note: str = "") -> Worth:
    entry: dict[str, Any] = with_interval(value, resampled, num_rows=n)
    said = [note, entry.get("note", "")]
    return Worth(value, entry["low"], entry["high"], p, "; ".join(one for one in said if one))
