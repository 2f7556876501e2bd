"""Random predictions, and one call that scores them."""

import numpy as np
import pytest

from ftkit.metrics.classification import METRICS, evaluate_classification


def score(labels, probabilities, *, metrics=tuple(METRICS), positive_label=None, num_resamples=100, names=None):
    return evaluate_classification(
        np.asarray(labels),
        np.asarray(probabilities),
        label_names=names or [f"class {index}" for index in range(np.shape(probabilities)[1])],
        metrics=metrics,
        positive_label=positive_label,
        num_resamples=num_resamples,
        seed=7,
    )


def draw(num_classes, num_rows, *, seed=0, decimals=None, sharpness=2.0):
    """Labels and better-than-chance probabilities; few decimals give many ties."""
    random = np.random.default_rng([seed, num_classes, num_rows])
    labels = random.integers(0, num_classes, num_rows)
    logits = random.normal(size=(num_rows, num_classes))
    logits[np.arange(num_rows), labels] += sharpness
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if decimals is not None:
        probabilities = np.round(probabilities, decimals) + 10.0**-decimals
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities


@pytest.fixture
def evaluate():
    """evaluate_classification with defaults for everything but the arrays."""
    return score


@pytest.fixture
def random_predictions():
    """Function of the numbers of classes and rows."""
    return draw
