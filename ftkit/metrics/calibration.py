"""Metrics of the probabilities themselves: the mean loss and the expected calibration error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import Bootstrap, with_interval
from ftkit.metrics.predictions import Entry, Predictions

NUM_BINS = 15
"""Equal-width bins of confidence."""


def loss(predictions: Predictions, bootstrap: Bootstrap) -> Entry:
    """Mean negative log-likelihood of the labels, in nats.

    A probability below float64's epsilon (2.2e-16, 36 nats) counts as that, as in scikit-learn's log_loss: one row with
    probability 0 would make the mean infinite. The entry says how many rows did.
    """
    probabilities = predictions.probabilities[np.arange(predictions.num_rows), predictions.labels].astype(np.float64)
    smallest = np.finfo(np.float64).eps
    nats = -np.log(np.maximum(probabilities, smallest))
    entry = with_interval(float(nats.mean()), bootstrap.means(nats)[:, 0], num_rows=predictions.num_rows)
    if raised := np.count_nonzero(probabilities < smallest):
        entry["note"] = f"{raised} rows give their label a probability below 2.2e-16 and count as that"
    return entry


def ece(predictions: Predictions, bootstrap: Bootstrap) -> Entry:
    """Expected calibration error of the top label, in [0, 1]: how far confidence lies from accuracy, by bins.

    The rows are binned by confidence, the highest probability of a row, into 15 intervals (lower, upper] of equal
    width; the error is the mean over rows of their bin's |accuracy - mean confidence|. On few rows it is biased
    upwards: a perfectly calibrated model scores above 0, and resamples repeat that bias. So the interval is mirrored at
    the value, kept within [0, 1], never ends below the value, and begins at 0 where a perfectly calibrated model with
    these confidences would score as much in more than 2.5 % of cases.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2; Broecker and Smith 2007, Increasing
    the Reliability of Reliability Diagrams (what a calibrated model scores on so many rows).
    """
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    gap = (predictions.predicted == predictions.labels) - confidence
    bins = confidence_bins(confidence)
    value = float(np.abs(np.bincount(bins, weights=gap, minlength=NUM_BINS)).sum() / predictions.num_rows)
    resampled = np.abs(bootstrap.means(gap, bins, NUM_BINS)).sum(axis=1)
    entry = with_interval(value, resampled, num_rows=predictions.num_rows, reflect=True)
    if isinstance(low := entry["low"], float) and isinstance(high := entry["high"], float):
        entry |= {"low": max(low, 0.0), "high": min(max(high, value), 1.0)}
        if value <= np.percentile(_when_calibrated(confidence, bins, bootstrap), 97.5):
            entry["low"] = 0.0
    return entry


def _when_calibrated(
    confidence: NDArray[np.float64], bins: NDArray[np.int64], bootstrap: Bootstrap
) -> NDArray[np.float64]:
    """Errors (R,) that chance alone gives: in each bin, hits of probability `confidence` scatter about their mean."""
    spread = np.sqrt(np.bincount(bins, weights=confidence * (1 - confidence), minlength=NUM_BINS))
    random = np.random.default_rng([bootstrap.seed, 3])
    gaps = random.normal(size=(bootstrap.num_resamples, NUM_BINS)) * spread
    errors: NDArray[np.float64] = np.abs(gaps).sum(axis=1) / len(confidence)
    return errors


def confidence_bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin in [0, NUM_BINS) of each confidence in [0, 1]; a bin holds its upper edge, the first one 0 as well."""
    edges = np.linspace(0, 1, NUM_BINS + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, NUM_BINS - 1)
