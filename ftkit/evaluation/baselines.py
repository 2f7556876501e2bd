"""What answers without finetuning are worth: the commonest label, words alone, a linear probe of the encoder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftkit.interruption import STOP
from ftkit.metrics.scores import Floats, Integers, Scores

Name = TypeVar("Name", bound=str)

ROWS_FITTED = 20_000
"""Training rows that a baseline is fitted to."""
ROWS_CHOSEN_ON = 3_000
"""Training rows on which its regularisation is chosen."""
FLOOR = 1e-4
"""Probability that labels without a training row share."""
WORD_STRENGTHS = (3.0, 10.0, 30.0)
FEATURE_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse penalties C that are tried, the heaviest penalty first."""


def majority_baseline(train_counts: ArrayLike, labels: ArrayLike) -> Scores:
    """The answer that knows nothing but how often each label is: the commonest, with the frequencies as probabilities.

    Args:
        train_counts: training rows of each label (K,); each counts one more, so that none has probability 0.
        labels: expected, in [0, K) (N,).

    Returns:
        Losses in nats, and whether the label is the commonest one (the first of equals).

    Example:
        >>> losses = majority_baseline([2, 0], [0, 1])
        >>> losses.nll.round(3).tolist(), losses.accuracy
        ([0.288, 1.386], 0.5)
    """
    counts = np.asarray(train_counts, dtype=np.float64) + 1
    expected = np.asarray(labels, dtype=np.int64)
    return losses_of(np.tile(counts / counts.sum(), (len(expected), 1)), expected)


def tfidf_baseline(
    train_texts: Sequence[str],
    train_labels: ArrayLike,
    sets: Mapping[Name, tuple[Sequence[str], ArrayLike]],
    *,
    num_labels: int,
    seed: int,
) -> dict[Name, Scores]:
    """Logistic regression on TF-IDF of words and pairs of neighbouring words: what a label owes to words alone.

    Fitted to at most 20,000 training rows, drawn with `seed`. Pairs of texts come joined by a line break.

    Args:
        train_texts: M texts.
        train_labels: their labels, in [0, K) (M,).
        sets: name -> texts and labels to score.
        num_labels: K.
        seed: of the rows drawn, and of those on which the penalty is chosen.

    Returns:
        Losses by name of the set, in nats. Labels that no training row has share a probability of 1e-4.
    """
    labels = np.asarray(train_labels, dtype=np.int64)
    rows = drawn_rows(len(labels), ROWS_FITTED, seed=seed)
    words = word_weights()
    known = words.fit_transform([train_texts[row] for row in rows])
    # scikit-learn refuses to weigh no texts at all
    unseen = {
        name: (words.transform(list(texts)) if len(texts) else known[:0], expected)
        for name, (texts, expected) in sets.items()
    }
    return _scored(known, labels[rows], unseen, WORD_STRENGTHS, num_labels=num_labels, seed=seed)


def linear_probe(
    train_features: NDArray[np.floating[Any]],
    train_labels: ArrayLike,
    sets: Mapping[Name, tuple[NDArray[np.floating[Any]], ArrayLike]],
    *,
    num_labels: int,
    seed: int,
) -> dict[Name, Scores]:
    """Logistic regression on an encoder's standardised features: what the base model knows of the task already.

    Args:
        train_features: pooled outputs of the base encoder (M, D); at most 20,000 rows are used, drawn with `seed`.
        train_labels: their labels, in [0, K) (M,).
        sets: name -> features (N, D) and labels (N,) to score.
        num_labels: K.
        seed: of the rows drawn, and of those on which the penalty is chosen.

    Returns:
        Losses by name of the set, in nats. Labels that no training row has share a probability of 1e-4.

    Source: Alain and Bengio 2016, Understanding Intermediate Layers Using Linear Classifier Probes.
    """
    labels = np.asarray(train_labels, dtype=np.int64)
    rows = drawn_rows(len(labels), ROWS_FITTED, seed=seed)
    known = np.asarray(train_features[rows], dtype=np.float64)
    mean, spread = standards(known)
    unseen = {
        name: ((np.asarray(features, dtype=np.float64) - mean) / spread, expected)
        for name, (features, expected) in sets.items()
    }
    return _scored((known - mean) / spread, labels[rows], unseen, FEATURE_STRENGTHS, num_labels=num_labels, seed=seed)


def fitted_by_folds(
    fit: Callable[..., dict[Name, Scores]],
    inputs: NDArray[Any],
    labels: Integers,
    sets: Mapping[Name, tuple[NDArray[Any], Integers]],
    *,
    folds: Integers | None,
    folds_of: Mapping[Name, Integers],
) -> dict[Name, Scores]:
    """What a baseline gives each set; rows of a set that are training rows too, after a fit to the other folds.

    Args:
        fit: (inputs, labels, sets) -> losses by set, as `tfidf_baseline` and `linear_probe`.
        inputs: texts or features of training rows (M, ...).
        labels: theirs (M,).
        sets: name -> inputs and labels to score.
        folds: of the training rows (M,); None where no set is made of them.
        folds_of: name of a set that is made of training rows -> the folds of its rows.
    """
    found = fit(inputs, labels, {name: one for name, one in sets.items() if name not in folds_of})
    for name, own in folds_of.items():
        (asked, expected), nll = sets[name], np.zeros(len(own))
        right = np.zeros(len(own), dtype=np.int64)
        for fold in np.unique(own):
            inside, known = own == fold, folds != fold
            part = fit(inputs[known], labels[known], {name: (asked[inside], expected[inside])})[name]
            nll[inside], right[inside] = part.nll, part.num_correct
        found[name] = Scores(nll, np.ones(len(own), dtype=np.int64), right)
    return found


def _scored(
    known: Any,
    labels: Integers,
    unseen: Mapping[Name, tuple[Any, ArrayLike]],
    strengths: Sequence[float],
    *,
    num_labels: int,
    seed: int,
) -> dict[Name, Scores]:
    strength = _best_strength(known, labels, strengths, num_labels=num_labels, seed=seed)
    matrices = [features for features, _ in unseen.values()]
    answers = fitted_probabilities(known, labels, matrices, num_labels=num_labels, strength=strength)
    expected = [np.asarray(labels, dtype=np.int64) for _, labels in unseen.values()]
    return {name: losses_of(*pair) for name, pair in zip(unseen, zip(answers, expected, strict=True), strict=True)}


def _best_strength(known: Any, labels: Integers, strengths: Sequence[float], *, num_labels: int, seed: int) -> float:
    """The one with the lowest loss on a fifth of the rows after a fit to the others."""
    rows = drawn_rows(len(labels), ROWS_CHOSEN_ON, seed=seed)
    cut = len(rows) // 5
    if cut < 1:
        return strengths[0]
    mixed = np.random.default_rng([seed, 13]).permutation(rows)
    inner, outer = mixed[cut:], mixed[:cut]
    losses = []
    for strength in strengths:
        STOP.poll()
        (answers,) = fitted_probabilities(
            known[inner], labels[inner], [known[outer]], num_labels=num_labels, strength=strength
        )
        losses.append(losses_of(answers, labels[outer]).loss)
        # weaker penalties take longest, and beyond the best one they only get worse
        if len(losses) > 1 and losses[-1] > losses[-2]:
            break
    return strengths[int(np.argmin(losses))]


def fitted_probabilities(
    known: Any, labels: Integers, unseen: Sequence[Any], *, num_labels: int, strength: float
) -> list[Floats]:
    """Fit a logistic regression and ask it.

    Args:
        known: features of the training rows (M, D), dense or sparse.
        labels: in [0, K) (M,).
        unseen: matrices (N, D) to score.
        num_labels: K.
        strength: inverse penalty C of scikit-learn.

    Returns:
        Probabilities (N, K) for each of `unseen`; labels that no training row has share 1e-4.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    missing = num_labels - len(present)
    out = []
    STOP.poll()
    model = LogisticRegression(C=strength, max_iter=100, tol=1e-3)
    if len(present) > 1:
        with warnings.catch_warnings():
            # a baseline that is not quite converged is a baseline
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(known, labels)
    for features in unseen:
        answers = np.full((features.shape[0], num_labels), FLOOR / max(1, missing))
        seen = model.predict_proba(features) if len(present) > 1 and features.shape[0] else 1.0
        answers[:, present] = seen * (1 - FLOOR if missing else 1)
        out.append(answers)
    return out


def word_weights(**options: Any) -> Any:
    """TF-IDF of words, one letter long or more, and of pairs of neighbours; `options` of scikit-learn go on top."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # a text without a word, such as "?!", still is a token: a vocabulary must not be empty
    chosen = {"ngram_range": (1, 2), "token_pattern": r"(?u)\w+|[^\w\s]+|^\s*$", "sublinear_tf": True}
    return TfidfVectorizer(**(chosen | {"dtype": np.float64} | options))


def standards(features: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (D,) of features (N, D); 1 where a feature is constant."""
    spread = features.std(axis=0)
    return features.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)


def drawn_rows(num_rows: int, most: int, *, seed: int) -> Integers:
    """All rows, or `most` of them drawn at random, in their order."""
    if num_rows <= most:
        return np.arange(num_rows, dtype=np.int64)
    drawn = np.random.default_rng([seed, 12]).permutation(num_rows)[:most]
    return np.sort(drawn).astype(np.int64)


def losses_of(probabilities: Floats, labels: Integers) -> Scores:
    """Losses in nats and right answers of probabilities (N, K); a probability below 2.2e-16 counts as that."""
    given = probabilities[np.arange(len(labels)), labels]
    right = probabilities.argmax(axis=1) == labels if len(labels) else np.zeros(0)
    nll = -np.log(np.maximum(given, np.finfo(np.float64).eps))
    return Scores(nll, np.ones(len(labels), dtype=np.int64), np.asarray(right, dtype=np.int64))
