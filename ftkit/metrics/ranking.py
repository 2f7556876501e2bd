"""Areas under curves over all thresholds, a class against the rest: ROC, precision over recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import Bootstrap, no_value, quotient, with_interval
from ftkit.metrics.predictions import Entry, Predictions
from ftkit.metrics.scores import Floats

MAX_ROW_DRAWS = 250_000_000
"""Rows x classes x resamples that are drawn and ranked exactly, a few seconds; beyond, the area is linearised."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows of one class against the rest, sorted by score and cut into cells within which their order does not matter.

    A cell is a run of rows of one side with none of the other side in between, or a set of tied scores of both sides.

    Attributes:
        order: rows sorted by cell, negatives before positives (N,).
        starts: where in `order` each side of each cell begins (S,).
        cells: cell of each of those (S,).
        positive: whether it is the positive side (S,).
        num_cells: C.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    cells: NDArray[np.int64]
    positive: NDArray[np.bool_]
    num_cells: int

    @classmethod
    def of(cls, scores: NDArray[np.floating[Any]], is_positive: NDArray[np.bool_]) -> Ranking:
        """Rank scores (N,) of the positive class."""
        _, ties = np.unique(scores, return_inverse=True)
        has_positive = np.bincount(ties, weights=is_positive) > 0
        has_negative = np.bincount(ties, weights=~is_positive) > 0
        mixed = has_positive & has_negative
        begins = np.ones(len(mixed), dtype=bool)
        begins[1:] = mixed[1:] | mixed[:-1] | (has_positive[1:] != has_positive[:-1])
        side = 2 * (np.cumsum(begins) - 1)[ties] + is_positive
        order = np.argsort(side, kind="stable")
        sides, starts = np.unique(side[order], return_index=True)
        return cls(order, starts, sides // 2, sides % 2 == 1, int(begins.sum()))

    def sum_by_side(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weights of rows (R, N) -> weights of positives and of negatives in each cell (R, C) each."""
        sums = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        positives, negatives = np.zeros((2, len(weights), self.num_cells))
        positives[:, self.cells[self.positive]] = sums[:, self.positive]
        negatives[:, self.cells[~self.positive]] = sums[:, ~self.positive]
        return positives, negatives

    def area(self, weights: Floats) -> Floats:
        """Area under the ROC curve (R,) for weights of rows (R, N); NaN where one side has no weight."""
        positives, negatives = self.sum_by_side(weights)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        wins = (positives * below).sum(axis=1)
        return quotient(wins, pairs)

    def influence(self) -> Floats:
        """What each row adds to the area, to first order, times N (N,): zero on average.

        Source: DeLong et al. 1988, Comparing the areas under two or more correlated ROC curves (placement values).
        """
        num_rows = len(self.order)
        positives, negatives = (sums[0] for sums in self.sum_by_side(np.ones((1, num_rows))))
        area = self.area(np.ones((1, num_rows)))[0]
        below = (np.cumsum(negatives) - negatives / 2) / negatives.sum()
        above = (positives.sum() - np.cumsum(positives) + positives / 2) / positives.sum()
        of_side = np.where(
            self.positive,
            (below[self.cells] - area) * num_rows / positives.sum(),
            (above[self.cells] - area) * num_rows / negatives.sum(),
        )
        influence = np.empty(num_rows)
        influence[self.order] = np.repeat(of_side, np.diff(self.starts, append=num_rows))
        return influence


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


Curve = type[Ranking] | type[PrecisionCurve]


def roc_auc(predictions: Predictions, bootstrap: Bootstrap) -> Entry:
    """Area under the ROC curve: 0.5 by chance, 1 at best; ties count half.

    The chance that a row of the class scores above a row of another class.
    """
    return _area(predictions, bootstrap, Ranking)


def average_precision(predictions: Predictions, bootstrap: Bootstrap) -> Entry:
    """Area under the curve of precision over recall: the share of the class by chance, 1 at best."""
    return _area(predictions, bootstrap, PrecisionCurve)


def _area(predictions: Predictions, bootstrap: Bootstrap, curve: Curve) -> Entry:
    """Area under a curve.

    With two classes of the positive label's probability; with more, the mean over classes of each against the rest.
    Classes that label no row have no curve: they are left out, and the entry says which. Intervals resample rows; where
    that would take more than MAX_ROW_DRAWS draws, they resample the area's first-order terms instead.
    """
    if np.count_nonzero(predictions.present) < 2:
        return no_value(predictions.num_rows, "all rows have the same label")
    classes = [predictions.positive] if predictions.num_classes == 2 else np.flatnonzero(predictions.present).tolist()
    exact = predictions.num_rows * len(classes) * bootstrap.num_resamples <= MAX_ROW_DRAWS
    value, resampled = (_by_rows if exact else _by_influence)(predictions, classes, bootstrap, curve)
    entry = with_interval(value, resampled, num_rows=predictions.num_rows)
    if predictions.num_classes == 2:
        return entry | {"average": "binary", "positive_label": predictions.label_names[predictions.positive]}
    entry["average"] = "macro one-vs-rest"
    if absent := [name for name, there in zip(predictions.label_names, predictions.present, strict=True) if not there]:
        entry["left_out"] = absent
    return entry


def _rank(predictions: Predictions, index: int, curve: Curve) -> Ranking | PrecisionCurve:
    return curve.of(predictions.probabilities[:, index], predictions.labels == index)


def _by_rows(predictions: Predictions, classes: list[int], bootstrap: Bootstrap, curve: Curve) -> tuple[float, Floats]:
    """Macro mean of the areas, and of each resample (R,) over the classes that it holds."""
    rankings = [_rank(predictions, index, curve) for index in classes]

    def mean_area(weights: Floats) -> Floats:
        areas = np.stack([ranking.area(weights) for ranking in rankings])
        defined = ~np.isnan(areas)
        sums, counts = np.where(defined, areas, 0.0).sum(axis=0), defined.sum(axis=0)
        return quotient(sums, counts)

    value = float(mean_area(np.ones((1, predictions.num_rows)))[0])
    return value, np.concatenate([mean_area(weights) for weights in bootstrap.row_weights(predictions.num_rows)])


def _by_influence(
    predictions: Predictions, classes: list[int], bootstrap: Bootstrap, curve: Curve
) -> tuple[float, Floats]:
    """The same, resampling first-order terms; one class at a time, for many rows are many bytes."""
    areas, influence = [], np.zeros(predictions.num_rows)
    for index in classes:
        ranking = _rank(predictions, index, curve)
        areas.append(ranking.area(np.ones((1, predictions.num_rows)))[0])
        influence += ranking.influence() / len(classes)
    value = float(np.mean(areas))
    return value, np.clip(value + bootstrap.means(influence)[:, 0], 0.0, 1.0)
