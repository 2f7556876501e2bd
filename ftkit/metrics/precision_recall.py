"""Average precision: the area under the curve of precision over recall, without interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import quotient
from ftkit.metrics.scores import Floats


@dataclass(frozen=True, eq=False)
class PrecisionCurve:
    """Rows of one class against the rest, sorted from the highest score; tied rows pass a threshold together.

    Attributes:
        order: rows by falling score (N,).
        starts: where in `order` each score begins (S,).
        positive: whether each row is of the class, in that order (N,).
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    positive: Floats

    @classmethod
    def of(cls, scores: NDArray[np.floating[Any]], is_positive: NDArray[np.bool_]) -> PrecisionCurve:
        """Rank scores (N,) of the positive class."""
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        return cls(order, starts, is_positive[order].astype(np.float64))

    def _sums(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Of weights (R, N), at each score (R, S): positives of it, positives from it up, and rows from it up."""
        sorted_weights = weights[:, self.order]
        hits = np.add.reduceat(sorted_weights * self.positive, self.starts, axis=1)
        rows = np.add.reduceat(sorted_weights, self.starts, axis=1)
        return hits, np.cumsum(hits, axis=1), np.cumsum(rows, axis=1)

    def area(self, weights: Floats) -> Floats:
        """Average precision (R,) for weights of rows (R, N): the precision at each positive, averaged over these."""
        hits, above, rows = self._sums(weights)
        precision = np.divide(above, rows, out=np.zeros_like(above), where=rows > 0)
        return quotient((hits * precision).sum(axis=1), above[:, -1])

    def influence(self) -> Floats:
        """What each row adds to the area, to first order, times N (N,): its derivative by the row's weight."""
        hits, above, rows = (sums[0] for sums in self._sums(np.ones((1, len(self.order)))))
        area, sizes = (hits * above / rows).sum() / above[-1], np.diff(self.starts, append=len(self.order))
        # a row counts at its own threshold and at every lower one
        gained = np.repeat(np.cumsum((hits / rows)[::-1])[::-1], sizes)
        lost = np.repeat(np.cumsum((hits * above / rows**2)[::-1])[::-1], sizes)
        own = np.repeat(above / rows, sizes)
        influence = np.empty(len(self.order))
        influence[self.order] = (self.positive * (own + gained - area) - lost) * len(self.order) / above[-1]
        return influence
