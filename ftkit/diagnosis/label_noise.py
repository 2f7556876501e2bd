"""How many labels are wrong, told apart from how many are hard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.scores import Floats, Integers

NOISE_RATES = np.arange(0.0, 0.62, 0.02)
"""Shares of wrong labels that are tried as an explanation."""
SLACK = 1.0
"""Of the log-likelihood, which the smallest share that still explains the answers may lie below the best."""
SURE_ENOUGH = 0.85
"""Probability of the right label, were labels clean, from which on a row is judged."""
LEAST_JUDGED = 20
LIFT = 2.0
"""Standard deviations by which the judged rows have to beat answers by label frequency."""
SKILL = 0.75
"""Of the errors that answers by label frequency make on the judged rows, the most that they may have left."""
SPREAD = 0.5
"""Standard deviation of the log-odds of clean answers, over how far their mean lies above chance, at the least."""
RIDGE = 0.01


def noise_rate(probabilities: Floats, labels: Integers) -> tuple[int, int]:
    """Count the labels that are contradicted where a classifier ought to be right.

    A share of errors alone does not tell wrong labels from hard texts. Their errors lie differently: on hard texts they
    die out as the classifier gets surer, while labels that were flipped by lot leave a plateau of their share, however
    sure it is. So the share of given labels that equal the out-of-fold answer is fitted as

        P(equal | m) = (1 - q) * sigmoid(a + b * m)

    with m the standardised log-odds of the answer and q the share of wrong labels. The smallest q that explains the
    answers about as well as the best (1 nat in all) is taken: 0 for texts that are merely hard, and for features that
    tell nothing. Judged are rows with sigmoid(a + b * m) >= 0.85. So on clean labels up to about 10 % of the judged may
    be contradicted: hold the count against a margin of at least 0.10.

    Answers that are equally often right wherever m lies would be explained by b = 0 as well. But what is clean and
    better than chance is unequally sure: for two normal distributions at a distance d the log-odds |m| have a standard
    deviation of 0.6 to 0.76 times their mean, as long as they overlap. So b >= 0.5 * (a - c) is demanded, and b >= 0,
    with c the log-odds of answers by label frequency.

    Nobody is judged, (0, 0), where fewer than 20 rows are that sure, or where they beat the frequencies of the labels
    by less than two standard deviations or a quarter of the errors: a classifier without skill has a plateau too, that
    of the commonest label.

    Args:
        probabilities: of a classifier that did not see these labels (N, K).
        labels: what they are held against (N,).

    Returns:
        Rows judged and errors among them; `errors ~ Binomial(judged, rate)`, for an exact lower bound of the rate.

    Source: the upper asymptote of Barton and Lord 1981, An Upper Asymptote for the Three-Parameter Logistic Item
    Response Model; Northcutt et al. 2021, Confident Learning, for out-of-fold probabilities.
    """
    if len(labels) < LEAST_JUDGED:
        return 0, 0
    answers = probabilities.argmax(axis=1)
    equal = (answers == labels).astype(np.float64)
    frequency = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels)
    mean = float(np.clip(frequency[answers].mean(), 1e-6, 1 - 1e-6))
    chance = float(np.log(mean / (1 - mean)))
    judged = _sureness(log_odds(probabilities.max(axis=1)), equal, chance=chance) >= SURE_ENOUGH
    count, errors = int(judged.sum()), int((1 - equal[judged]).sum())
    by_chance = frequency[answers[judged]]
    spread = np.sqrt((by_chance * (1 - by_chance)).sum())
    expected = (1 - by_chance).sum()
    if count < LEAST_JUDGED or expected - errors < LIFT * spread or errors > SKILL * expected:
        return 0, 0
    return count, errors


def log_odds(probabilities: Floats) -> Floats:
    """Of probabilities (N,), standardised: mean 0, and standard deviation 1 unless all are the same."""
    kept = np.clip(probabilities, 1e-6, 1 - 1e-6)
    odds = np.log(kept / (1 - kept))
    centred: Floats = odds - odds.mean()
    return centred / max(float(centred.std()), 1e-9)


def _sureness(odds: Floats, equal: Floats, *, chance: float) -> Floats:
    """Probability (N,) that the answer is right where the label is, under the least noise that explains `equal`."""
    fits = [_fit(odds, equal, rate, chance=chance) for rate in NOISE_RATES]
    likelihoods = np.array([likelihood for _, likelihood in fits])
    scores, _ = fits[int(np.flatnonzero(likelihoods >= likelihoods.max() - SLACK)[0])]
    return _sigmoid(scores)


def _fit(odds: Floats, equal: Floats, rate: float, *, chance: float) -> tuple[Floats, float]:
    """Scores a + b * odds (N,) of the best line with b >= max(0, SPREAD * (a - c)), and their likelihood.

    Args:
        odds: standardised (N,).
        equal: 1 where the label is the answer, else 0 (N,).
        rate: q.
        chance: c.
    """
    ones, none = np.ones_like(odds), np.zeros_like(odds)
    line, likelihood = _maximise(np.stack([ones, odds], axis=1), none, equal, rate)
    if line[1] >= max(0.0, SPREAD * (line[0] - chance)):
        return line[0] + line[1] * odds, likelihood
    # the best line that is allowed lies on the border of what is allowed, as the likelihood has one peak
    slanted, offset = (ones + SPREAD * odds)[:, None], -SPREAD * chance * odds
    weight, likelihood = _maximise(slanted, offset, equal, rate)
    if weight[0] >= chance:
        return slanted @ weight + offset, likelihood
    weight, likelihood = _maximise(ones[:, None], none, equal, rate)
    return weight[0] * ones, likelihood


def _maximise(inputs: Floats, offset: Floats, equal: Floats, rate: float) -> tuple[Floats, float]:
    """Weights (P,) of P(equal) = (1 - rate) * sigmoid(inputs @ weights + offset): Fisher scoring with halved steps."""
    weights = np.zeros(inputs.shape[1])
    best = _likelihood(inputs @ weights + offset, weights, equal, rate)
    for _ in range(40):
        right = _sigmoid(inputs @ weights + offset)
        mean = np.clip((1 - rate) * right, 1e-9, 1 - 1e-9)
        slope = (1 - rate) * right * (1 - right)
        gradient = inputs.T @ ((equal - mean) * slope / (mean * (1 - mean))) - RIDGE * weights
        information = (inputs * (slope**2 / (mean * (1 - mean)))[:, None]).T @ inputs + RIDGE * np.eye(len(weights))
        step, before = np.linalg.solve(information, gradient), best
        for share in 0.5 ** np.arange(10):
            tried = weights + share * step
            if (likelihood := _likelihood(inputs @ tried + offset, tried, equal, rate)) >= best:
                weights, best = tried, likelihood
                break
        if best - before < 1e-5:
            break
    return weights, best


def _likelihood(scores: Floats, weights: Floats, equal: Floats, rate: float) -> float:
    mean = np.clip((1 - rate) * _sigmoid(scores), 1e-9, 1 - 1e-9)
    fit = (equal * np.log(mean) + (1 - equal) * np.log1p(-mean)).sum()
    # without a little ridge, a slope that separates perfectly grows for ever
    return float(fit - 0.5 * RIDGE * (weights**2).sum())


def _sigmoid(values: NDArray[np.float64]) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), dtype=np.float64)
