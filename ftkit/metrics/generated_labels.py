"""Metrics of a classifier that writes the name of its label, and may write something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import Bootstrap, no_value, with_interval
from ftkit.metrics.counts import Cells, ClassCounts, f1_by_class, macro
from ftkit.metrics.matching import collapse
from ftkit.metrics.names import GENERATED_LABEL_METRICS
from ftkit.metrics.predictions import Entry
from ftkit.metrics.scores import Floats

NO_LABEL = -1


def match_labels(outputs: Sequence[str], label_names: Sequence[str]) -> NDArray[np.int64]:
    """Index of the label name that each output is, but for white space (N,); -1 where it is none of them.

    Nothing is guessed: a label with a full stop, or in other case, is none.

    Raises:
        ValueError: two label names that white space alone tells apart.

    Example:
        >>> match_labels([" good", "bad.", "very  bad"], ["good", "bad", "very bad"]).tolist()
        [0, -1, 2]
    """
    indices = {collapse(name): index for index, name in enumerate(label_names)}
    if len(indices) < len(label_names):
        raise ValueError(f"label names that white space alone tells apart: {list(label_names)}")
    return np.array([indices.get(collapse(output), NO_LABEL) for output in outputs], dtype=np.int64)


def evaluate_generated_labels(
    generated: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    label_names: Sequence[str],
    metrics: Sequence[str],
    num_resamples: int,
    seed: int,
) -> dict[str, Entry]:
    """Score written labels, each metric with a 95 % percentile bootstrap interval over rows.

    - `generated_accuracy`: share of rows whose output is the label. An output that is no label is wrong.
    - `generated_f1_macro`: mean over classes of F1. An output that is no label misses its class and accuses none.
      A class that is neither a label nor an output of any row is left out, as in `f1_macro`.
    - `no_label`: share of rows whose output is no label.

    Args:
        generated: what `match_labels` gives (N,), in [-1, K).
        labels: true class of each row (N,), in [0, K).
        label_names: K names.
        metrics: some of GENERATED_LABEL_METRICS.
        num_resamples: bootstrap resamples, the same ones whichever metrics are asked for.
        seed: of the resamples.

    Returns:
        Entries by metric, in the order asked: `{"value": .., "low": .., "high": .., "n": N}`; without rows the value is
        None with a `reason`. `note` says what else to know.

    Raises:
        ValueError: arrays that do not fit one another, or an unknown metric.

    Example:
        >>> scores = evaluate_generated_labels(np.array([0, -1, 1, 1]), np.array([0, 0, 1, 1]), label_names=["a", "b"],
        ...     metrics=["generated_accuracy", "no_label"], num_resamples=100, seed=0)
        >>> scores["generated_accuracy"]["value"], scores["no_label"]["value"]
        (0.75, 0.25)
    """
    names, num_classes = list(dict.fromkeys(metrics)), len(label_names)
    if unknown := [name for name in names if name not in GENERATED_LABEL_METRICS]:
        raise ValueError(f"no such metrics: {', '.join(unknown)}")
    if generated.ndim != 1 or generated.shape != labels.shape:
        raise ValueError(f"generated {generated.shape} and labels {labels.shape} do not fit one another")
    if not len(labels):
        return {name: no_value(0, "there are no rows") for name in names}
    if labels.min() < 0 or generated.min() < NO_LABEL or max(labels.max(), generated.max()) >= num_classes:
        raise ValueError(f"labels and generated labels lie outside of the {num_classes} classes")
    observed, resampled = _count(generated, labels, num_classes, Bootstrap(num_resamples, seed))
    return {name: _entry(name, observed, resampled, len(labels)) for name in names}


def _entry(name: str, observed: _Counts, resampled: _Counts, num_rows: int) -> Entry:
    score = _SCORES[name]
    entry = with_interval(float(score(observed)[0]), score(resampled), num_rows=num_rows)
    notes = [str(entry.pop("note"))] if "note" in entry else []
    if name != "no_label" and (unlabelled := int(observed.unlabelled[0])):
        notes.append(f"{unlabelled} of {num_rows} outputs are none of the labels and count as wrong")
    occurs = (observed.classes.labelled + observed.classes.predicted)[0] > 0
    if name == "generated_f1_macro" and not occurs.all():
        notes.append(f"{np.count_nonzero(~occurs)} of {len(occurs)} classes occur neither as label nor as output")
    return entry | ({"note": "; ".join(notes)} if notes else {})


class _Counts(NamedTuple):
    """Counts of R sets of rows: of the K classes, and of the outputs that are none of them (R,)."""

    classes: ClassCounts
    unlabelled: Floats


def _count(
    generated: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int, bootstrap: Bootstrap
) -> tuple[_Counts, _Counts]:
    """Counts of the rows themselves (R = 1) and of their resamples; an output that is no label is a class K."""
    width = num_classes + 1
    written = np.where(generated == NO_LABEL, num_classes, generated)
    pairs, counts = np.unique(labels * width + written, return_counts=True)
    cells = Cells(pairs // width, pairs % width, width)
    chunks = [counts[None, :], *bootstrap.cell_counts(counts)]
    sums = [cells.sum_by_class(chunk) for chunk in chunks]
    return _without_last(sums[:1]), _without_last(sums[1:])


def _without_last(sums: Sequence[ClassCounts]) -> _Counts:
    hits, labelled, predicted = map(np.concatenate, zip(*sums, strict=True))
    return _Counts(ClassCounts(hits[:, :-1], labelled[:, :-1], predicted[:, :-1]), predicted[:, -1])


def _accuracy(counts: _Counts) -> Floats:
    shares: Floats = counts.classes.hits.sum(axis=1) / counts.classes.labelled.sum(axis=1)
    return shares


def _f1_macro(counts: _Counts) -> Floats:
    return macro(counts.classes, f1_by_class(counts.classes))


def _no_label(counts: _Counts) -> Floats:
    shares: Floats = counts.unlabelled / counts.classes.labelled.sum(axis=1)
    return shares


_SCORES: Mapping[str, Callable[[_Counts], Floats]] = {
    "generated_accuracy": _accuracy,
    "generated_f1_macro": _f1_macro,
    "no_label": _no_label,
}
