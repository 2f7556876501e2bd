"""What classifiers that did not see a training label think of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftkit.data.duplicates import key_of
from ftkit.data.folds import FOLDS, folds_of
from ftkit.diagnosis.label_noise import noise_rate
from ftkit.diagnosis.measurements import LabelNoise
from ftkit.evaluation.baselines import fitted_probabilities, standards, word_weights
from ftkit.metrics.scores import Floats, Integers

ROWS_LOOKED_AT = 1_500
ROUNDS = 3
"""Cross-validations on features, with other folds, whose answers are averaged; one on words, which are slower."""
MANY_LABELS = 20
"""Beyond, the classifier of words leaves out the runs of characters, which take ten times as long."""
WORD_PENALTIES = (0.1, 1.0, 10.0)
FEATURE_PENALTIES = (0.001, 0.01, 0.1)
"""Inverse penalties C that are tried."""
SMOOTHINGS = (0.1, 0.3, 1.0, 3.0)
"""Weights that naive Bayes adds to every word."""
Fit = Callable[..., list[Floats]]


def find_label_noise(
    texts: Sequence[str],
    labels: ArrayLike,
    *,
    features: NDArray[np.floating[Any]] | None,
    num_labels: int,
    seed: int,
) -> LabelNoise:
    """Ask cross-validated classifiers for the labels of training rows.

    Classifiers are fitted to four fifths of the rows and asked about the last: logistic regressions on TF-IDF of words
    and runs of characters and on the features if there are any, and naive Bayes on the words. The same text is always
    in the same fold. Of them and of the means of two, that with the lowest out-of-fold loss is kept among those that
    are ever sure of a label, so that one which is sure of none does not hide what another sees.

    Args:
        texts: M training texts; pairs come joined by a line break.
        labels: given, in [0, K) (M,).
        features: pooled outputs of the base encoder (M, D), or None.
        num_labels: K.
        seed: of the folds, and of the at most 1,500 rows that are looked at (each label keeps its share).

    Returns:
        Probabilities of the rows looked at, and as suspects the places (S,) among them of those whose label is
        contradicted, the worst first. On hard texts many right labels are: see ftkit.diagnosis.label_noise.

    Source: Northcutt et al. 2021, Confident Learning: Estimating Uncertainty in Dataset Labels.
    """
    given = np.asarray(labels, dtype=np.int64)
    keys = np.array([key_of(text) for text in texts], dtype=np.uint64)
    rows = _stratified(given, seed=seed)
    looked_at = given[rows]
    _, groups = np.unique(keys[rows], return_inverse=True)
    words = _word_features([texts[row] for row in rows], num_labels=num_labels)
    found = [_best_answers(words, looked_at, groups, WORD_PENALTIES, num_labels, seed=seed, rounds=1)]
    counted = _best_answers(words, looked_at, groups, SMOOTHINGS, num_labels, seed=seed, rounds=1, fit=naive_bayes)
    if features is not None and len(rows):
        known = np.asarray(features[rows], dtype=np.float64)
        mean, spread = standards(known)
        known = (known - mean) / spread
        found.append(_best_answers(known, looked_at, groups, FEATURE_PENALTIES, num_labels, seed=seed, rounds=ROUNDS))
        found.append((found[0] + found[1]) / 2)
    found += [counted, (found[0] + counted) / 2]
    conflicts = _conflicts(keys, given)[rows]
    judged = [
        LabelNoise(looked_at, answers, suspects_of(answers, looked_at), conflicts, rows)
        for answers in sorted(found, key=lambda one: _loss(one, looked_at))
    ]
    return next((one for one in judged if noise_rate(one.out_of_fold, looked_at)[0]), judged[0])


def _stratified(labels: Integers, *, seed: int) -> Integers:
    if len(labels) <= ROWS_LOOKED_AT:
        return np.arange(len(labels), dtype=np.int64)
    order = np.lexsort((np.random.default_rng([seed, 14]).random(len(labels)), labels))
    # evenly spaced places in the rows sorted by label take each label's share
    return np.sort(order[np.arange(ROWS_LOOKED_AT) * len(labels) // ROWS_LOOKED_AT]).astype(np.int64)


def _word_features(texts: Sequence[str], *, num_labels: int) -> Any:
    from scipy.sparse import hstack

    if not texts:
        return np.zeros((0, 1))
    words = word_weights().fit_transform(texts)
    if num_labels > MANY_LABELS or not any(text.strip() for text in texts):
        return words
    # what stands in one row only tells nothing of the others
    runs = word_weights(analyzer="char_wb", ngram_range=(3, 5), min_df=min(2, len(texts)), token_pattern=None)
    try:
        return hstack([words, runs.fit_transform(texts)]).tocsr()
    except ValueError:
        # no run of characters stands in two rows
        return words


def _best_answers(
    features: Any,
    labels: Integers,
    groups: Integers,
    strengths: Sequence[float],
    num_labels: int,
    *,
    seed: int,
    rounds: int,
    fit: Fit = fitted_probabilities,
) -> Floats:
    """Out-of-fold probabilities (N, K) under the strength with the lowest out-of-fold loss."""

    def answers(folds: Integers, strength: float) -> Floats:
        return out_of_fold(features, labels, folds, num_labels=num_labels, strength=strength, fit=fit)

    folds = [folds_of(groups, labels, num_folds=FOLDS, seed=seed + 1_000 * turn) for turn in range(rounds)]
    tried = [answers(folds[0], one) for one in strengths]
    best = int(np.argmin([_loss(one, labels) for one in tried]))
    more = [answers(fold, strengths[best]) for fold in folds[1:]]
    return np.asarray(np.mean([tried[best], *more], axis=0), dtype=np.float64)


def out_of_fold(
    features: Any,
    labels: Integers,
    folds: Integers,
    *,
    num_labels: int,
    strength: float,
    fit: Fit = fitted_probabilities,
) -> Floats:
    """Probabilities (N, K) of classifiers, logistic regressions by default, that saw no row of the same fold (N,)."""
    answers = np.full((len(labels), num_labels), 1 / num_labels)
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if len(outside):
            (answers[inside],) = fit(
                features[outside], labels[outside], [features[inside]], num_labels=num_labels, strength=strength
            )
    return answers


def naive_bayes(
    known: Any, labels: Integers, unseen: Sequence[Any], *, num_labels: int, strength: float
) -> list[Floats]:
    """Probabilities (N, K) for each of `unseen` of a multinomial naive Bayes on weights of words; 0 for absent labels.

    Args:
        known: weights, none negative (M, D).
        labels: in [0, K) (M,).
        unseen: matrices (N, D).
        num_labels: K.
        strength: what is added to the weight of every word.
    """
    from sklearn.naive_bayes import MultinomialNB

    model = MultinomialNB(alpha=strength).fit(known, labels)
    out = []
    for features in unseen:
        answers = np.zeros((features.shape[0], num_labels))
        answers[:, model.classes_] = model.predict_proba(features)
        out.append(answers)
    return out


def suspects_of(probabilities: Floats, labels: Integers) -> Integers:
    """Places (S,) of the rows whose label is contradicted with confidence, the worst first.

    A label counts as confident where its probability reaches the mean over the rows that have it. A row is suspect if
    its own label is not confident and another one is that is also likelier; the worst have the largest difference.

    Args:
        probabilities: out of fold (N, K).
        labels: given (N,).

    Source: Northcutt et al. 2021, Confident Learning, section 3.1 (thresholds) and 3.2 (normalised margin).
    """
    places, num_labels = np.arange(len(labels)), probabilities.shape[1]
    own = probabilities[places, labels]
    counts = np.bincount(labels, minlength=num_labels)
    sums = np.bincount(labels, weights=own, minlength=num_labels)
    # a label that no row has is never confident
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    confident[places, labels] = -1.0
    other = confident.max(axis=1, initial=-1.0)
    suspect = np.flatnonzero((other > own) & (own < thresholds[labels]))
    return suspect[np.argsort((own - other)[suspect], kind="stable")].astype(np.int64)


def _conflicts(keys: NDArray[np.uint64], labels: Integers) -> NDArray[np.bool_]:
    """Rows (M,) whose text stands elsewhere with another label."""
    if not len(keys):
        return np.zeros(0, dtype=np.bool_)
    _, text = np.unique(keys, return_inverse=True)
    low, high = np.full(text.max() + 1, labels.max()), np.full(text.max() + 1, labels.min())
    np.minimum.at(low, text, labels)
    np.maximum.at(high, text, labels)
    return np.asarray((low < high)[text], dtype=np.bool_)


def _loss(probabilities: Floats, labels: Integers) -> float:
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, 1e-12)).mean()) if len(own) else 0.0
