"""Answers without finetuning: their losses follow from counts, and they learn what words or features tell."""

import numpy as np
import pytest

from ftkit.evaluation.baselines import linear_probe, majority_baseline, tfidf_baseline

WORDS = (["fine", "lovely", "great", "superb"], ["awful", "poor", "dull", "grim"])


def reviews(num_rows, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, num_rows)
    texts = [f"the {random.choice(['film', 'plot', 'cast'])} was {random.choice(WORDS[label])}" for label in labels]
    return texts, labels


def test_the_loss_of_the_majority_is_the_entropy_of_the_labels():
    counts = np.array([6999, 1999, 999])
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    losses = majority_baseline(counts, labels)
    shares = np.array([0.7, 0.2, 0.1])
    assert losses.loss == pytest.approx(-(shares * np.log(shares)).sum())
    assert losses.accuracy == 0.7
    assert (losses.num_targets == 1).all()


def test_a_label_without_training_rows_has_a_finite_loss():
    losses = majority_baseline([8, 0], [1])
    assert losses.nll[0] == pytest.approx(np.log(10))


def test_words_tell_what_words_decide():
    found = tfidf_baseline(*reviews(200), {"validation": reviews(100, seed=1)}, num_labels=2, seed=0)
    assert found["validation"].accuracy == 1.0
    assert found["validation"].loss < 0.2


def test_words_tell_nothing_of_labels_drawn_by_lot():
    texts, _ = reviews(300)
    labels = np.random.default_rng(5).integers(0, 2, 300)
    other, _ = reviews(300, seed=1)
    found = tfidf_baseline(texts, labels, {"test": (other, np.arange(300) % 2)}, num_labels=2, seed=0)
    assert found["test"].loss == pytest.approx(np.log(2), abs=0.1)


def test_a_linear_probe_learns_a_line_whatever_the_scale_of_the_features():
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 5)) * [1e-3, 1, 1e3, 1, 0] + 7
    labels = (features[:, 0] > 7).astype(int)
    sets = {"validation": (features[300:], labels[300:])}
    found = linear_probe(features[:300], labels[:300], sets, num_labels=2, seed=0)
    assert found["validation"].accuracy > 0.95


def test_a_label_that_training_lacks_costs_its_floor():
    texts, labels = reviews(60)
    found = tfidf_baseline(texts, labels, {"test": (["the film was fine"], [2])}, num_labels=4, seed=0)
    assert found["test"].nll[0] == pytest.approx(-np.log(1e-4 / 2))
    assert found["test"].accuracy == 0.0


def test_one_label_one_row_and_empty_texts_are_answered():
    found = tfidf_baseline(["", "?!"], [1, 1], {"test": (["x"], [1]), "validation": ([], [])}, num_labels=2, seed=0)
    assert found["test"].nll[0] == pytest.approx(1e-4, rel=0.01)
    assert len(found["validation"]) == 0


def test_the_same_seed_gives_the_same_losses():
    arguments = (*reviews(120), {"test": reviews(30, seed=2)})
    first, second = (tfidf_baseline(*arguments, num_labels=2, seed=3)["test"].nll for _ in range(2))
    assert (first == second).all()
