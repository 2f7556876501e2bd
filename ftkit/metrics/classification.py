"""The table of classification metrics, and the one function that computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics import calibration, counts, ranking
from ftkit.metrics.bootstrap import Bootstrap, no_value
from ftkit.metrics.names import HUB_PREFIX
from ftkit.metrics.predictions import Entry, Predictions, checked


class Scored:
    """Predictions and their resamples; counts are made once, when the first metric asks."""

    def __init__(self, predictions: Predictions, bootstrap: Bootstrap) -> None:
        self.predictions = predictions
        self.bootstrap = bootstrap

    @cached_property
    def counts(self) -> counts.Counts:
        """Class counts of the rows and of the resamples."""
        return counts.Counts.of(self.predictions, self.bootstrap)


METRICS: Mapping[str, Callable[[Scored], Entry]] = {
    "loss": lambda scored: calibration.loss(scored.predictions, scored.bootstrap),
    "accuracy": lambda scored: counts.accuracy(scored.predictions, scored.counts),
    "f1_macro": lambda scored: counts.f1_macro(scored.predictions, scored.counts),
    "f1_micro": lambda scored: counts.f1_micro(scored.predictions, scored.counts),
    "f1_weighted": lambda scored: counts.f1_weighted(scored.predictions, scored.counts),
    "f1": lambda scored: counts.f1(scored.predictions, scored.counts),
    "precision": lambda scored: counts.precision(scored.predictions, scored.counts),
    "recall": lambda scored: counts.recall(scored.predictions, scored.counts),
    "balanced_accuracy": lambda scored: counts.balanced_accuracy(scored.predictions, scored.counts),
    "cohen_kappa": lambda scored: counts.cohen_kappa(scored.predictions, scored.counts),
    "matthews": lambda scored: counts.matthews(scored.predictions, scored.counts),
    "roc_auc": lambda scored: ranking.roc_auc(scored.predictions, scored.bootstrap),
    "average_precision": lambda scored: ranking.average_precision(scored.predictions, scored.bootstrap),
    "confusion": lambda scored: counts.confusion(scored.predictions),
    "ece": lambda scored: calibration.ece(scored.predictions, scored.bootstrap),
}


def evaluate_classification(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    *,
    label_names: Sequence[str],
    metrics: Sequence[str],
    positive_label: str | None,
    num_resamples: int,
    seed: int,
) -> dict[str, dict[str, object]]:
    """Score the predictions of a classifier, each metric with a 95 % percentile bootstrap interval over rows.

    Args:
        labels: true class of each row (N,), integers in [0, K).
        probabilities: (N, K), rows sum to 1; the predicted class is the most probable one.
        label_names: K names, in the order of the classes.
        metrics: keys of METRICS, or `evaluate:NAME` for a metric of that library; the mean loss is always added.
        positive_label: the class that f1, precision and recall are about when K is 2; None for the second one. With
            more classes those three are macro means (`"average": "macro"` in the entry), and a label given is ignored,
            which the entry notes.
        num_resamples: bootstrap resamples, the same ones whichever metrics are asked for.
        seed: of the resamples.

    Returns:
        Entries by metric, `loss` first: `{"value": .., "low": .., "high": .., "n": N}`. A metric that these rows leave
        undefined has the value None and a `reason`; NaN and infinities never occur. `note` says what else to know.

    Raises:
        ValueError: arrays that do not fit one another, or an unknown metric.
        UserError: a positive label that does not exist; a metric of `evaluate` that cannot be had or computed.

    Example:
        >>> scores = evaluate_classification(
        ...     np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), label_names=["no", "yes"],
        ...     metrics=["accuracy", "recall"], positive_label=None, num_resamples=100, seed=0)
        >>> scores["recall"]["value"], scores["recall"]["positive_label"], scores["accuracy"]["n"]
        (0.5, 'yes', 3)
    """
    predictions = checked(labels, probabilities, label_names=label_names, positive_label=positive_label)
    names = list(dict.fromkeys(["loss", *metrics]))
    if unknown := [name for name in names if name not in METRICS and not name.startswith(HUB_PREFIX)]:
        raise ValueError(f"no such metrics: {', '.join(unknown)}")
    if reason := _why_nothing_is_defined(predictions):
        return {name: no_value(predictions.num_rows, reason) for name in names}
    scored = Scored(predictions, Bootstrap(num_resamples, seed))
    return {name: METRICS[name](scored) if name in METRICS else _from_hub(name, predictions) for name in names}


def _why_nothing_is_defined(predictions: Predictions) -> str | None:
    if predictions.num_rows == 0:
        return "there are no rows"
    if predictions.num_non_finite:
        return f"{predictions.num_non_finite} of {predictions.num_rows} rows have probabilities that are not finite"
    return None


def _from_hub(name: str, predictions: Predictions) -> Entry:
    # imported here: `evaluate` takes seconds to import, and most recipes never name one of its metrics
    from ftkit.metrics.foreign.hub import evaluate_from_hub

    return evaluate_from_hub(name.removeprefix(HUB_PREFIX), predictions)
