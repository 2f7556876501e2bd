"""Percentile bootstrap intervals, computed from counts and sums instead of from resampled rows.

Drawing N rows with replacement, R times, and scoring each draw costs R calls of a metric. Two identities give the same
distribution for a fraction of that. Metrics of (label, prediction) pairs see only how often each pair occurs, and those
counts are multinomial over the pairs that occur at all. Metrics that are built of sums over rows see only how often
each row was drawn, and all R weighted sums are one matrix product.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftkit.interruption import STOP
from ftkit.metrics.predictions import Entry
from ftkit.metrics.scores import Floats

RESAMPLES = 2_000
"""Behind the interval of a difference, and exchanges behind its p: the smallest p is 1 / 2,001, enough for 100
comparisons."""
MAX_ELEMENTS = 2**21
"""Elements of the largest array made at a time: 16 MiB in float64, however many rows and resamples there are."""
MAX_UNITS = 20_000
"""Rows that are drawn one by one; more rows than that are dealt into this many random groups, drawn as wholes."""


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of one set of rows; the same seed gives the same resamples, whichever metrics ask.

    Attributes:
        num_resamples: R.
        seed: any non-negative integer.
    """

    num_resamples: int
    seed: int

    def cell_counts(self, counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Resample rows of which only the cell matters.

        Args:
            counts: rows in each cell (C,), all positive.

        Yields:
            Counts of some resamples (r, C), R in all; each sums to as many rows as there are.
        """
        random = np.random.default_rng([self.seed, 0])
        shares = counts / counts.sum()
        for size in self._chunks(len(counts)):
            yield random.multinomial(int(counts.sum()), shares, size=size)

    def row_weights(self, num_rows: int) -> Iterator[NDArray[np.float64]]:
        """How often each row is drawn: chunks (r, num_rows), R in all; each resample sums to num_rows."""
        random = np.random.default_rng([self.seed, 1])
        for size in self._chunks(num_rows):
            draws = random.integers(0, num_rows, size=(size, num_rows))
            draws += num_rows * np.arange(size)[:, None]
            counts = np.bincount(draws.ravel(), minlength=size * num_rows)
            yield counts.reshape(size, num_rows).astype(np.float64)

    def means(
        self, values: NDArray[np.float64], groups: NDArray[np.int64] | None = None, num_groups: int = 1
    ) -> NDArray[np.float64]:
        """Sum `values` within each group and divide by the number of all rows, in every resample.

        Above MAX_UNITS rows, rows are dealt at random into MAX_UNITS groups that are drawn as wholes: the variance of a
        mean of independent rows stays what it was, and the work stays bounded.

        Args:
            values: (N,).
            groups: group of each row (N,) in [0, num_groups); one group when None.

        Returns:
            (R, num_groups).
        """
        units = self._units(len(values))
        num_units = int(units.max()) + 1
        cells = units * num_groups + (0 if groups is None else groups)
        sums = np.bincount(cells, weights=values, minlength=num_units * num_groups).reshape(num_units, num_groups)
        sizes = np.bincount(units, minlength=num_units)
        chunks = [(weights @ sums) / (weights @ sizes)[:, None] for weights in self.row_weights(num_units)]
        return np.concatenate(chunks)

    def sums(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum several columns over the rows drawn, the same rows for all of them: for ratios of sums.

        Rows beyond MAX_UNITS are drawn in groups, as in `means`.

        Args:
            columns: (N, C).

        Returns:
            (R, C).
        """
        units = self._units(len(columns))
        sums = np.stack([np.bincount(units, weights=column) for column in columns.T], axis=1)
        return np.concatenate([weights @ sums for weights in self.row_weights(len(sums))])

    def _units(self, num_rows: int) -> NDArray[np.int64]:
        """Which of at most MAX_UNITS units each row belongs to (N,); every unit has a row."""
        if num_rows <= MAX_UNITS:
            return np.arange(num_rows)
        return np.random.default_rng([self.seed, 2]).permutation(num_rows) % MAX_UNITS

    def _chunks(self, width: int) -> Iterator[int]:
        """Sizes of chunks of resamples such that a chunk of that width stays within MAX_ELEMENTS."""
        largest = max(1, MAX_ELEMENTS // width)
        for start in range(0, self.num_resamples, largest):
            STOP.poll()
            yield min(largest, self.num_resamples - start)


def with_interval(value: float, resampled: NDArray[np.floating[Any]], *, num_rows: int, reflect: bool = False) -> Entry:
    """The entry of a metric: its value between the 2.5 and the 97.5 percentile of its resamples.

    Args:
        value: on all rows.
        resampled: (R,); NaN where a resample leaves the metric undefined, and those are left out.
        num_rows: N.
        reflect: mirror the interval at the value (the basic bootstrap, Davison and Hinkley 1997, 5.2), for an estimate
            whose bias the bootstrap shows: resamples then lie off the value as far as the value lies off the truth.
    """
    defined = resampled[~np.isnan(resampled)]
    if num_rows < 2 or not len(defined):
        return {"value": value, "low": None, "high": None, "n": num_rows, "note": "too few rows for an interval"}
    low, high = (float(bound) for bound in np.percentile(defined, [2.5, 97.5]))
    if reflect:
        low, high = 2 * value - high, 2 * value - low
    entry: Entry = {"value": value, "low": low, "high": high, "n": num_rows}
    if len(defined) < len(resampled):
        left_out = len(resampled) - len(defined)
        entry["note"] = f"undefined on {left_out} of {len(resampled)} resamples, which the interval leaves out"
    elif low == high:
        entry["note"] = "every resample gives the same value; a kind of case that these rows lack does not show here"
    return entry


def no_value(num_rows: int, reason: str) -> Entry:
    """The entry of a metric that these rows leave undefined: null, and why."""
    return {"value": None, "low": None, "high": None, "n": num_rows, "reason": reason}


def quotient(above: Floats, below: Floats) -> Floats:
    """Elementwise quotient; NaN where what stands below is not positive."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


FEW_DOCUMENTS = 10
"""Below it an interval of resampled documents holds the truth less than 90 times in 100, and the entry says so."""


@dataclass(frozen=True, eq=False)
class Sufficient:
    """What one metric needs of each of N rows.

    Attributes:
        columns: numbers of each row that are summed over rows (N, C).
        score: sums (R, C) -> the metric on each set of rows (R,), NaN where it is undefined.
        why_undefined: the reason when `score` gives NaN on all rows.
        signature: how the metric was computed, for those who compare; empty if its name says it.
        notes: what else to know.
    """

    columns: Floats
    score: Callable[[Floats], Floats]
    why_undefined: str = ""
    signature: str = ""
    notes: Sequence[str] = ()

    def noting(self, notes: Sequence[str]) -> Sufficient:
        """The same with more notes."""
        return replace(self, notes=[*self.notes, *notes])

    def entry(self, bootstrap: Bootstrap) -> Entry:
        """The metric on all rows, with a 95 % percentile interval over rows.

        Source: Koehn 2004, Statistical Significance Tests for Machine Translation Evaluation (resampled BLEU).
        """
        # exact sums, so that the order of the rows does not show in the last digit
        totals = np.array([[math.fsum(column) for column in self.columns.T]])
        value, num_rows = float(self.score(totals)[0]), len(self.columns)
        signature: Entry = {"signature": self.signature} if self.signature else {}
        if math.isnan(value):
            return no_value(num_rows, self.why_undefined) | signature
        entry = with_interval(value, self.score(bootstrap.sums(self.columns)), num_rows=num_rows)
        notes = [str(entry.pop("note"))] if "note" in entry else []
        if 1 < num_rows < FEW_DOCUMENTS:
            notes.append(f"{num_rows} rows are few: the interval is narrower than it should be")
        notes.extend(self.notes)
        return entry | signature | ({"note": "; ".join(notes)} if notes else {})


def ratio(columns: NDArray[Any], *, why_undefined: str) -> Sufficient:
    """Sum of the first of two columns (N, 2) over the sum of the second."""

    def score(sums: Floats) -> Floats:
        return quotient(sums[:, 0], sums[:, 1])

    return Sufficient(columns.astype(np.float64), score, why_undefined=why_undefined)


def mean(values: NDArray[Any]) -> Sufficient:
    """Mean of `values` (N,) over rows."""
    return ratio(np.stack([values, np.ones(len(values))], axis=1), why_undefined="there are no rows")
