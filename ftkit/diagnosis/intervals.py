"""Estimates with intervals: paired bootstrap of losses, exact intervals of rates, and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftkit.diagnosis.verdict import Evidence
from ftkit.metrics.bootstrap import RESAMPLES, Bootstrap, quotient
from ftkit.metrics.scores import PROBE_ROWS, Floats, Integers, Scores


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure, its 95 % interval, and how likely it is on the other side of a margin.

    Attributes:
        value: on all examples.
        low: 2.5th percentile.
        high: 97.5th percentile.
        n: examples.
        resampled: the figure on each resample (R,); without NaN.
    """

    value: float
    low: float
    high: float
    n: int
    resampled: Floats

    def p_above(self, margin: float) -> float:
        """One-sided p of the hypothesis that the figure is not above `margin`, at least 1 / (R + 1)."""
        return float((1 + np.count_nonzero(self.resampled <= margin)) / (1 + len(self.resampled)))

    def p_below(self, margin: float) -> float:
        """One-sided p of the hypothesis that the figure is not below `margin`."""
        return float((1 + np.count_nonzero(self.resampled >= margin)) / (1 + len(self.resampled)))

    def evidence(self, what: str, *, unit: str, margin: float | None = None) -> Evidence:
        """As a line of a check."""
        if not math.isfinite(self.value):
            return Evidence(what, None, None, None, margin, unit, self.n)
        return Evidence(what, self.value, self.low, self.high, margin, unit, self.n)

    def words(self, unit: str = "nat") -> str:
        """`0.31 nat (95 % 0.22 to 0.41)`.

        Example:
            >>> Estimate(0.31, 0.22, 0.41, 100, np.zeros(1)).words()
            '0.31 nat (95 % 0.22 to 0.41)'
        """
        suffix = f" {unit}" if unit else ""
        return f"{plain(self.value)}{suffix} (95 % {plain(self.low)} to {plain(self.high)})"


def plain(value: float) -> str:
    """Two decimals, or two significant digits of a smaller figure.

    Example:
        >>> plain(0.314), plain(0.00123), plain(-0.0), plain(12.3)
        ('0.31', '0.0012', '0', '12.30')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 0.01:
        return f"{value:.2f}"
    return f"{value:.2g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def percent(share: float) -> str:
    """A share in percent, with a decimal where it is small.

    Example:
        >>> percent(0.25), percent(0.016)
        ('25 %', '1.6 %')
    """
    return f"{100 * share:.0f} %" if abs(share) >= 0.0995 else f"{100 * share:.1f} %"


def _estimate(value: float, resampled: NDArray[np.floating], *, n: int) -> Estimate:
    kept = np.asarray(resampled[np.isfinite(resampled)], dtype=np.float64)
    if not len(kept):
        kept = np.full(1, value)
    low, high = (float(bound) for bound in np.percentile(kept, [2.5, 97.5]))
    return Estimate(value, low, high, n, kept)


def _by_group(columns: Floats, groups: Integers | None) -> Floats:
    if groups is None:
        return columns
    _, owner = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(owner, weights=column) for column in columns.T], axis=1)


def _ratio(
    above: NDArray[np.number], below: Integers, *, value: float | None = None, groups: Integers | None = None, seed: int
) -> Estimate:
    """Sum over sum of columns (N,), all examples (or groups of them) resampled."""
    columns = _by_group(np.stack([above, below], axis=1).astype(np.float64), groups)
    sums, total = Bootstrap(RESAMPLES, seed).sums(columns), columns.sum(axis=0)
    exact = float(total[0] / total[1]) if value is None else value
    return _estimate(exact, quotient(sums[:, 0], sums[:, 1]), n=len(above))


def mean_loss(losses: Scores, *, groups: Integers | None = None, seed: int = 0) -> Estimate:
    """Nats a target, all examples (or groups of them) resampled."""
    return _ratio(losses.nll, losses.num_targets, value=losses.loss, groups=groups, seed=seed)


def mean_accuracy(losses: Scores, *, groups: Integers | None = None, seed: int = 0) -> Estimate:
    """Share of targets that were put first."""
    return _ratio(losses.num_correct, losses.num_targets, value=losses.accuracy, groups=groups, seed=seed)


def paired_rise(after: Scores, before: Scores, *, groups: Integers | None = None, seed: int = 0) -> Estimate:
    """Loss of one model minus that of another on the same examples, in nats a target.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 10 (paired differences are resampled).

    Raises:
        ValueError: they are not of the same examples.
    """
    if len(after) != len(before) or not np.array_equal(after.num_targets, before.num_targets):
        raise ValueError("a paired difference needs the same examples and targets on both sides")
    return _ratio(after.nll - before.nll, after.num_targets, groups=groups, seed=seed)


def paired_accuracy_gain(after: Scores, before: Scores, *, seed: int = 0) -> Estimate:
    """Share of right targets of one model minus that of another on the same examples."""
    return _ratio(after.num_correct - before.num_correct, after.num_targets, seed=seed)


def difference(above: Estimate, below: Estimate) -> Estimate:
    """Of two figures from different examples, resampled independently."""
    size = min(len(above.resampled), len(below.resampled))
    # the same seed would tie the draws of the two sides together
    mixed = np.random.default_rng(size).permutation(below.resampled[:size])
    return _estimate(above.value - below.value, above.resampled[:size] - mixed, n=min(above.n, below.n))


def above_train(
    validation: Scores,
    train: Scores,
    *,
    groups: Integers | None = None,
    train_groups: Integers | None = None,
    seed: int = 0,
) -> Estimate:
    """Validation loss less that of the train probe, in nats a target.

    A probe of fewer than 500 rows is the whole training set: its mean is no estimate, and is not resampled.
    """
    held_out = mean_loss(validation, groups=groups, seed=seed)
    if len(train) < PROBE_ROWS:
        return _estimate(held_out.value - train.loss, held_out.resampled - train.loss, n=min(held_out.n, len(train)))
    return difference(held_out, mean_loss(train, groups=train_groups, seed=seed))


def pace(start: Scores, middle: Scores, end: Scores, *, share_left: float, seed: int = 0) -> Estimate:
    """How fast the loss still fell from `middle` to `end`, over its mean pace from `start`.

    Args:
        start: before training.
        middle: at some point of it.
        end: afterwards, the same examples.
        share_left: of the summed learning rates, from `middle` to `end`, in (0, 1).

    Returns:
        1 for a straight line, near 0 for a curve that has levelled off, below 0 for one that rises. An exponential
        approach with k time constants in all, looked at from its half, gives 0.54 at k = 2 and 0.24 at k = 4.
    """
    columns = np.stack([start.nll - end.nll, middle.nll - end.nll], axis=1)
    sums, total = Bootstrap(RESAMPLES, seed).sums(columns), columns.sum(axis=0)
    value = float(total[1] / total[0]) if total[0] > 0 else float("nan")
    return _estimate(value / share_left, quotient(sums[:, 1], sums[:, 0]) / share_left, n=len(start))


def membership(train: Floats, validation: Floats, *, seed: int = 0) -> Estimate:
    """Area under the ROC curve of telling training examples by their lower loss; 0.5 is a coin.

    Args:
        train: a loss for each training example (N,), best less that of the base.
        validation: of each validation example (M,).

    Source: Mireshghallah et al. 2022, Quantifying Privacy Risks of Masked Language Models (loss against a reference
    model's); Yeom et al. 2018 (loss attack).
    """
    random = np.random.default_rng([seed, 4])
    value = _auc(train, validation)
    resampled = np.array(
        [
            _auc(random.choice(train, len(train)), random.choice(validation, len(validation)))
            for _ in range(RESAMPLES // 2)
        ]
    )
    return _estimate(value, resampled, n=min(len(train), len(validation)))


def _auc(lower: Floats, higher: Floats) -> float:
    order = np.sort(higher)
    wins = len(order) - np.searchsorted(order, lower, side="right")
    ties = np.searchsorted(order, lower, side="right") - np.searchsorted(order, lower, side="left")
    return float((wins + 0.5 * ties).mean() / len(order))


def rate_bounds(count: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a rate; (0, 1) without rows.

    Example:
        >>> [round(bound, 4) for bound in rate_bounds(0, 149)]
        [0.0, 0.0245]
    """
    from scipy.stats import beta

    low = float(beta.ppf(0.025, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, n - count)) if count < n else 1.0
    return low, high


def p_rate_above(count: int, n: int, margin: float) -> float:
    """One-sided exact binomial p of the hypothesis that a rate is at most `margin`."""
    from scipy.stats import binom

    return float(binom.sf(count - 1, n, margin)) if count else 1.0


def holm(p_values: Mapping[str, float], *, level: float) -> set[str]:
    """Names whose hypothesis is rejected, with a family-wise error of at most `level`.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.

    Example:
        >>> sorted(holm({"a": 0.001, "b": 0.015, "c": 0.5}, level=0.02))
        ['a']
    """
    rejected: set[str] = set()
    ordered = sorted(p_values.items(), key=lambda entry: entry[1])
    for place, (name, p) in enumerate(ordered):
        if p > level / (len(ordered) - place):
            break
        rejected.add(name)
    return rejected


def rows_needed(estimate: Estimate, margin: float) -> int | None:
    """Examples at which the interval would clear `margin` if the figure stayed; None where none would do.

    The half-width of an interval shrinks with the root of the number of examples.
    """
    distance, half = abs(estimate.value - margin), (estimate.high - estimate.low) / 2
    if distance <= 0.1 * half or not math.isfinite(half):
        return None
    wanted = estimate.n * (half / distance) ** 2
    digits = int(10 ** max(0, len(str(int(wanted))) - 2))
    return int(math.ceil(wanted / digits) * digits)


def worst_of(p_values: Sequence[float]) -> float:
    """P of a check whose conditions must all hold: the largest (intersection-union test, Berger 1982)."""
    return max(p_values)
