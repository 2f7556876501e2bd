"""Metrics of the confusion matrix: accuracy, F1, precision, recall, Matthews, kappa, and the matrix itself.

All of them need only three numbers a class: rows labelled so, rows predicted so, and rows that are both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import Bootstrap, no_value, quotient, with_interval
from ftkit.metrics.predictions import Entry, Predictions
from ftkit.metrics.scores import Floats, Integers


class ClassCounts(NamedTuple):
    """Counts of R resamples over K classes, as floats: their products pass 64-bit integers and stay exact.

    Attributes:
        hits: rows of that label that were predicted so (R, K).
        labelled: rows of that label (R, K).
        predicted: rows predicted so (R, K).
    """

    hits: Floats
    labelled: Floats
    predicted: Floats


@dataclass(frozen=True, eq=False)
class Cells:
    """The (label, prediction) pairs that occur.

    Attributes:
        labels: label of each pair (C,).
        predicted: prediction of each pair (C,).
        num_classes: K.
    """

    labels: Integers
    predicted: Integers
    num_classes: int

    def sum_by_class(self, counts: NDArray[np.integer[Any]]) -> ClassCounts:
        """Counts of pairs (R, C) -> counts of classes."""
        hit = self.labels == self.predicted
        return ClassCounts(
            self._sum_along(counts[:, hit], self.labels[hit]),
            self._sum_along(counts, self.labels),
            self._sum_along(counts, self.predicted),
        )

    def _sum_along(self, counts: NDArray[np.integer[Any]], classes: Integers) -> Floats:
        sums = np.zeros((len(counts), self.num_classes))
        if len(classes):
            order = np.argsort(classes, kind="stable")
            occurring, starts = np.unique(classes[order], return_index=True)
            sums[:, occurring] = np.add.reduceat(counts[:, order], starts, axis=1)
        return sums


def find_cells(predictions: Predictions) -> tuple[Cells, Integers]:
    """The (label, prediction) pairs, in that order, and how many rows are of each (C,), all positive."""
    num_classes = predictions.num_classes
    pairs, counts = np.unique(predictions.labels * num_classes + predictions.predicted, return_counts=True)
    return Cells(pairs // num_classes, pairs % num_classes, num_classes), counts


@dataclass(frozen=True, eq=False)
class Counts:
    """Class counts of the rows themselves (R = 1) and of the resamples, shared by the metrics of this file."""

    observed: ClassCounts
    resampled: ClassCounts

    @classmethod
    def of(cls, predictions: Predictions, bootstrap: Bootstrap) -> Counts:
        """Count once and resample once."""
        cells, counts = find_cells(predictions)
        chunks = [cells.sum_by_class(drawn) for drawn in bootstrap.cell_counts(counts)]
        resampled = ClassCounts(*map(np.concatenate, zip(*chunks, strict=True)))
        return cls(cells.sum_by_class(counts[None, :]), resampled)


def accuracy(predictions: Predictions, counts: Counts) -> Entry:
    """Share of rows whose most probable class is the label."""
    return _entry(predictions, counts, lambda one: one.hits.sum(axis=1) / one.labelled.sum(axis=1))


def f1_macro(predictions: Predictions, counts: Counts) -> Entry:
    """Mean over classes of F1, the harmonic mean of precision and recall.

    A class that occurs neither among the labels nor among the predictions is left out, as in scikit-learn.
    """
    entry = _entry(predictions, counts, lambda one: macro(one, f1_by_class(one)))
    return _say_left_out(entry, counts)


def f1_micro(predictions: Predictions, counts: Counts) -> Entry:
    """F1 of the hits, misses and false alarms of all classes together; of one label a row that is the accuracy."""
    return _entry(
        predictions,
        counts,
        lambda one: 2 * one.hits.sum(axis=1) / (one.labelled.sum(axis=1) + one.predicted.sum(axis=1)),
    )


def f1_weighted(predictions: Predictions, counts: Counts) -> Entry:
    """Mean over classes of F1, each weighed by the rows that have its label."""
    return _entry(
        predictions,
        counts,
        lambda one: np.nansum(one.labelled * f1_by_class(one), axis=1) / one.labelled.sum(axis=1),
    )


def balanced_accuracy(predictions: Predictions, counts: Counts) -> Entry:
    """Mean of the recalls of the classes that label a row: 1 / K by chance, 1 at best.

    Source: Brodersen et al. 2010, The balanced accuracy and its posterior distribution.
    """
    entry = _entry(predictions, counts, lambda one: np.nanmean(quotient(one.hits, one.labelled), axis=1))
    if not predictions.present.all():
        entry["note"] = f"{np.count_nonzero(~predictions.present)} of {predictions.num_classes} classes label no row"
    return entry


def cohen_kappa(predictions: Predictions, counts: Counts) -> Entry:
    """Agreement of labels and predictions beyond that of chance, in [-1, 1]; 0 by chance.

    Undefined when all labels and all predictions are of one class.

    Source: Cohen 1960, A coefficient of agreement for nominal scales.
    """
    if np.isnan(_kappa(counts.observed)[0]):
        return no_value(predictions.num_rows, "all labels and predictions are of one class")
    return _entry(predictions, counts, _kappa)


def f1(predictions: Predictions, counts: Counts) -> Entry:
    """F1 of the positive class; with more than two classes the same as f1_macro."""
    return _by_class(predictions, counts, f1_by_class, "is neither a label nor a prediction of any row")


def precision(predictions: Predictions, counts: Counts) -> Entry:
    """Share of the rows predicted as the positive class that are of it; with more than two classes the macro mean.

    In the macro mean, a class that is never predicted counts 0, as in scikit-learn.
    """
    return _by_class(predictions, counts, lambda one: quotient(one.hits, one.predicted), "is predicted for no row")


def recall(predictions: Predictions, counts: Counts) -> Entry:
    """Share of the rows of the positive class that are predicted so; with more than two classes the macro mean.

    In the macro mean, a class that is predicted but labels no row counts 0, as in scikit-learn.
    """
    return _by_class(predictions, counts, lambda one: quotient(one.hits, one.labelled), "labels no row")


def matthews(predictions: Predictions, counts: Counts) -> Entry:
    """Matthews correlation of labels and predictions, in [-1, 1].

    Undefined when all labels are equal; 0 when all predictions are equal and the labels are not, as in scikit-learn.

    Source: Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient.
    """
    if np.count_nonzero(predictions.present) < 2:
        return no_value(predictions.num_rows, "all rows have the same label")
    return _entry(predictions, counts, _matthews)


def confusion(predictions: Predictions) -> Entry:
    """Counts of rows by label (rows of the matrix) and prediction (columns), in the order of `labels`."""
    num_classes = predictions.num_classes
    cells, counts = find_cells(predictions)
    matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
    matrix[cells.labels, cells.predicted] = counts
    return {"value": matrix.tolist(), "labels": list(predictions.label_names), "n": predictions.num_rows}


def _entry(predictions: Predictions, counts: Counts, score: Callable[[ClassCounts], Floats]) -> Entry:
    return with_interval(float(score(counts.observed)[0]), score(counts.resampled), num_rows=predictions.num_rows)


def _by_class(
    predictions: Predictions, counts: Counts, score: Callable[[ClassCounts], Floats], why_undefined: str
) -> Entry:
    """About the positive class when there are two classes, else the macro mean; the entry says which."""
    if predictions.num_classes > 2:
        entry = _entry(predictions, counts, lambda one: macro(one, score(one))) | {"average": "macro"}
        if predictions.positive_was_given:
            entry["note"] = "positive_label is ignored: it is for tasks of two classes"
            return entry
        return _say_left_out(entry, counts)
    positive = predictions.positive
    name = {"average": "binary", "positive_label": predictions.label_names[positive]}
    if np.isnan(score(counts.observed)[0, positive]):
        return no_value(predictions.num_rows, f"{predictions.label_names[positive]} {why_undefined}") | name
    return _entry(predictions, counts, lambda one: score(one)[:, positive]) | name


def _say_left_out(entry: Entry, counts: Counts) -> Entry:
    occurs = (counts.observed.labelled + counts.observed.predicted)[0] > 0
    if not occurs.all() and "note" not in entry:
        entry["note"] = f"{np.count_nonzero(~occurs)} of {len(occurs)} classes occur neither as label nor as prediction"
    return entry


def f1_by_class(one: ClassCounts) -> Floats:
    """F1 (R, K); NaN of a class that occurs neither as label nor as prediction."""
    return quotient(2 * one.hits, one.labelled + one.predicted)


def macro(one: ClassCounts, scores: Floats) -> Floats:
    """Mean (R, K) -> (R,) over the classes that occur as label or prediction, an undefined score counting 0."""
    occurs = (one.labelled + one.predicted) > 0
    means: Floats = np.nan_to_num(scores, nan=0.0).sum(axis=1) / occurs.sum(axis=1)
    return means


def _kappa(one: ClassCounts) -> Floats:
    total = one.labelled.sum(axis=1)
    by_chance = (one.labelled * one.predicted).sum(axis=1)
    return quotient(one.hits.sum(axis=1) * total - by_chance, total**2 - by_chance)


def _matthews(one: ClassCounts) -> Floats:
    """Gorodkin's R_K (R,): NaN where the labels of a resample are all equal, 0 where only its predictions are."""
    total = one.labelled.sum(axis=1)
    covariance = one.hits.sum(axis=1) * total - (one.labelled * one.predicted).sum(axis=1)
    of_labels = total**2 - (one.labelled**2).sum(axis=1)
    of_predictions = total**2 - (one.predicted**2).sum(axis=1)
    constant = (of_predictions == 0) & (of_labels > 0)
    return np.where(constant, 0.0, quotient(covariance, np.sqrt(of_labels * of_predictions)))
