"""What every classification metric reads, checked once, and the shape of what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from ftkit.errors import UserError

Entry = dict[str, object]
"""One metric as it stands in metrics.json: value, low, high, n, and reason or note where there is something to say."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and probabilities of N rows over K classes.

    Attributes:
        labels: (N,) integers in [0, K).
        probabilities: (N, K) in [0, 1], rows sum to 1, in whatever float type they came.
        label_names: K names.
        positive: index of the class that f1, precision and recall are about when K is 2.
        positive_was_given: whether someone named that class, so that ignoring it can be said.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]
    label_names: tuple[str, ...]
    positive: int
    positive_was_given: bool

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.label_names)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the highest probability (N,); the first one of a tie."""
        indices: NDArray[np.int64] = np.argmax(self.probabilities, axis=1)
        return indices

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which classes occur in the labels (K,)."""
        return np.bincount(self.labels, minlength=self.num_classes) > 0

    @cached_property
    def num_non_finite(self) -> int:
        """Rows with a NaN or an infinity among their probabilities."""
        return int(np.count_nonzero(~np.isfinite(self.probabilities).all(axis=1)))


def checked(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    *,
    label_names: Sequence[str],
    positive_label: str | None,
) -> Predictions:
    """Check shapes and ranges and find the positive class.

    Raises:
        ValueError: shapes or label values that do not fit one another: a bug of the caller.
        UserError: a positive label that is none of the labels.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    names = tuple(str(name) for name in label_names)
    if labels.ndim != 1 or probabilities.shape != (len(labels), len(names)):
        raise ValueError(
            f"labels {labels.shape} and probabilities {probabilities.shape} do not fit {len(names)} label names"
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= len(names)):
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, classes from 0 to {len(names) - 1}")
    return Predictions(
        labels=labels.astype(np.int64, copy=False),
        probabilities=probabilities,
        label_names=names,
        positive=_positive_index(names, positive_label),
        positive_was_given=positive_label is not None,
    )


def _positive_index(names: tuple[str, ...], positive_label: str | None) -> int:
    if positive_label is None:
        return min(1, len(names) - 1)
    if str(positive_label) not in names:
        raise UserError(
            f"evaluation.positive_label: no such label: {positive_label}", fix=f"labels here: {', '.join(names)}"
        )
    return names.index(str(positive_label))


def describe_prediction(probability: npt.NDArray[np.float64], *, label_names: tuple[str, ...]) -> dict[str, Any]:
    """Probabilities (K,) of one example -> label, score and scores by label name.

    Where one of them is no number there is no best one: the label and the score are None, and so are those scores.

    Example:
        >>> describe_prediction(np.array([0.25, 0.75]), label_names=("no", "yes"))
        {'label': 'yes', 'score': 0.75, 'scores': {'no': 0.25, 'yes': 0.75}}
    """
    best = int(probability.argmax())
    finite = np.isfinite(probability)
    values = [round(float(value), 6) if known else None for value, known in zip(probability, finite, strict=True)]
    scores = dict(zip(label_names, values, strict=True))
    if not finite.all():
        return {"label": None, "score": None, "scores": scores}
    return {"label": label_names[best], "score": scores[label_names[best]], "scores": scores}
