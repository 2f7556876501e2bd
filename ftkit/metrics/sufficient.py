"""Metrics of a corpus, written as functions of sums over its rows, so that resamples need no text a second time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import Bootstrap, no_value, quotient, with_interval
from ftkit.metrics.language import FEW_DOCUMENTS
from ftkit.metrics.predictions import Entry
from ftkit.metrics.scores import Floats


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
