"""Metrics of a language model on text: loss, perplexity, bits per byte and token accuracy.

All four are ratios of sums over documents: a long document weighs as much as its tokens. Their intervals draw whole
documents, for the tokens of one document are not independent of one another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.bootstrap import FEW_DOCUMENTS, Bootstrap, quotient, with_interval
from ftkit.metrics.names import LANGUAGE_METRICS
from ftkit.metrics.predictions import Entry
from ftkit.metrics.scores import Scores


def evaluate_language(scores: Scores, *, metrics: Sequence[str], num_resamples: int, seed: int) -> dict[str, Entry]:
    """Turn sums by document into metrics, each with a 95 % percentile bootstrap interval over documents.

    `loss` is the mean negative log-likelihood of a target in nats, `perplexity` its exponential, `bits_per_byte` the
    negative log-likelihood of the text in bits per UTF-8 byte of it, which can be compared between vocabularies, and
    `token_accuracy` the share of targets that were the most probable token.

    Args:
        scores: sums by document; documents without a target say nothing and are left out.
        metrics: names of LANGUAGE_METRICS; the loss is always added.
        num_resamples: bootstrap resamples, the same ones for every metric.
        seed: of the resamples.

    Returns:
        Entries by metric, `loss` first: `{"value": .., "low": .., "high": .., "n": documents, "num_targets": ..}`. A
        metric without a value here is None with a `reason`; NaN and infinities never occur. `note` says what else to
        know.

    Raises:
        ValueError: arrays that do not fit one another, or an unknown metric.

    Source: Gao et al. 2020, The Pile, section 3.1 (bits per byte).

    Example:
        >>> two = np.array([2, 2])
        >>> scores = Scores(nll=two * np.log(8), num_targets=two, num_correct=two, text_nll=two * np.log(8),
        ...     text_bytes=two * 3)
        >>> entries = evaluate_language(scores, metrics=["perplexity", "bits_per_byte"], num_resamples=100, seed=0)
        >>> round(entries["perplexity"]["value"], 6), round(entries["bits_per_byte"]["value"], 6)
        (8.0, 1.0)
    """
    names = list(dict.fromkeys(["loss", *metrics]))
    if unknown := [name for name in names if name not in LANGUAGE_METRICS]:
        raise ValueError(f"no such metrics: {', '.join(unknown)}")
    columns = _columns(scores)
    if reason := _why_nothing_is_defined(columns):
        return {name: _undefined(columns, reason) for name in names}
    resampled = Bootstrap(num_resamples, seed).sums(columns)
    entries = {name: _ratio(name, columns, resampled) for name in ("loss", "bits_per_byte", "token_accuracy")}
    entries["perplexity"] = _perplexity(entries["loss"])
    return {name: entries[name] for name in names}


_COLUMNS = ("nll", "num_targets", "num_correct", "text_nll", "text_bytes")
_NLL, _TARGETS, _CORRECT, _TEXT_NLL, _BYTES = range(len(_COLUMNS))
_RATIOS = {
    "loss": (_NLL, _TARGETS, 1.0),
    "bits_per_byte": (_TEXT_NLL, _BYTES, 1 / math.log(2)),
    "token_accuracy": (_CORRECT, _TARGETS, 1.0),
}
"""Metric -> columns of the numerator and the denominator, and a factor."""


def _columns(scores: Scores) -> NDArray[np.float64]:
    """The five arrays as columns (D, 5), of the documents that have a target."""
    arrays = [np.asarray(getattr(scores, name)) for name in _COLUMNS]
    if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
        raise ValueError(f"arrays of documents do not fit one another: {[array.shape for array in arrays]}")
    columns = np.stack(arrays, axis=1).astype(np.float64)
    return columns[columns[:, _TARGETS] > 0]


def _why_nothing_is_defined(columns: NDArray[np.float64]) -> str | None:
    if not len(columns):
        return "there is no token to predict"
    if broken := np.count_nonzero(~np.isfinite(columns).all(axis=1)):
        return f"{broken} of {len(columns)} documents have a loss that is not finite"
    return None


def _ratio(name: str, columns: NDArray[np.float64], resampled: NDArray[np.float64]) -> Entry:
    above, below, factor = _RATIOS[name]
    totals = columns.sum(axis=0)
    if totals[below] == 0:
        return _undefined(columns, "no target stands for text")
    ratios = quotient(resampled[:, above], resampled[:, below])
    entry = with_interval(float(factor * totals[above] / totals[below]), factor * ratios, num_rows=len(columns))
    if len(columns) == 1:
        entry["note"] = "a single text, which has no interval: nothing tells how much another would differ"
    elif len(columns) < FEW_DOCUMENTS:
        entry["note"] = f"{len(columns)} texts are few: the interval is narrower than it should be"
    return entry | {"num_targets": int(totals[_TARGETS])}


def _perplexity(loss: Entry) -> Entry:
    """exp of the loss and of its bounds, which as percentiles keep their places under a growing function."""
    value, low, high = (_exp(loss[key]) for key in ("value", "low", "high"))
    entry = {**loss, "value": value, "low": low, "high": high}
    if value is None:
        return entry | {"low": None, "high": None, "reason": f"exp of a loss of {loss['value']:.1f} nats is too large"}
    if high is None and loss["high"] is not None:
        entry |= {"low": None, "note": "the upper bound is too large for a number"}
    return entry


def _exp(nats: object) -> float | None:
    if not isinstance(nats, float):
        return None
    try:
        return math.exp(nats)
    except OverflowError:
        return None


def _undefined(columns: NDArray[np.float64], reason: str) -> Entry:
    num_targets = int(columns[:, _TARGETS].sum())
    return {"value": None, "low": None, "high": None, "n": len(columns), "num_targets": num_targets, "reason": reason}
