"""Wrong labels are told from hard texts: by a plateau of errors, which neither overlap nor ignorance makes."""

import numpy as np
import pytest
from scipy.stats import beta

from ftkit.diagnosis.label_noise import noise_rate
from ftkit.evaluation import label_noise
from ftkit.evaluation.label_noise import find_label_noise, suspects_of
from tests.fixtures.tiers import slow

MARGIN = 0.10


def lower_bound(noise):
    judged, errors = noise_rate(noise.out_of_fold, noise.labels)
    return beta.ppf(0.025, errors, judged - errors + 1) if errors else 0.0


def flipped(labels, share, num_labels, random):
    rows = random.permutation(len(labels))[: round(share * len(labels))]
    wrong = labels.copy()
    wrong[rows] = (wrong[rows] + random.integers(1, num_labels, len(rows))) % num_labels
    return wrong, rows


def clouds(num_rows, *, distance, num_labels=3, seed=0):
    """Texts without meaning, labels, and a feature cloud for each label; the nearest centres are `distance` apart."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_labels, num_rows)
    features = random.normal(size=(num_rows, 8)) + np.eye(num_labels, 8)[labels] * distance / np.sqrt(2)
    return [f"row {number}" for number in range(num_rows)], labels, features


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_flipped_labels_in_separable_data_are_found_and_lead_the_suspects(share):
    texts, labels, features = clouds(400, distance=6)
    wrong, rows = flipped(labels, share, 3, np.random.default_rng(1))
    noise = find_label_noise(texts, wrong, features=features, num_labels=3, seed=0)
    judged, errors = noise_rate(noise.out_of_fold, noise.labels)
    assert errors / judged == pytest.approx(share, abs=0.05)
    assert lower_bound(noise) > MARGIN
    assert np.isin(noise.suspects[: len(rows) // 2], rows).mean() > 0.95
    assert np.isin(rows, noise.suspects).mean() > 0.8


def test_clean_separable_data_are_judged_and_clear():
    texts, labels, features = clouds(400, distance=6)
    noise = find_label_noise(texts, labels, features=features, num_labels=3, seed=0)
    judged, errors = noise_rate(noise.out_of_fold, noise.labels)
    assert judged > 300
    assert errors < 0.02 * judged


@pytest.mark.parametrize("distance", [1.5, slow(2.5)])
def test_classes_that_overlap_are_not_called_noise(distance):
    for seed in range(2):
        texts, labels, features = clouds(400, distance=distance, seed=seed)
        noise = find_label_noise(texts, labels, features=features, num_labels=3, seed=seed)
        assert lower_bound(noise) < MARGIN


@pytest.mark.parametrize("frequency", [0.5, slow(0.8)])
def test_labels_drawn_by_lot_are_never_called_noise(frequency):
    for seed in range(2):
        random = np.random.default_rng(seed)
        labels = (random.random(300) > frequency).astype(int)
        texts = [f"row {number}" for number in range(300)]
        noise = find_label_noise(texts, labels, features=random.normal(size=(300, 8)), num_labels=2, seed=seed)
        assert lower_bound(noise) < MARGIN


def test_words_alone_find_flipped_labels():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 300)
    words = (["fine", "lovely", "superb"], ["awful", "dull", "grim"])
    texts = [
        f"the {random.choice(['film', 'plot'])} number {i} was {random.choice(words[y])}" for i, y in enumerate(labels)
    ]
    wrong, rows = flipped(labels, 0.2, 2, random)
    noise = find_label_noise(texts, wrong, features=None, num_labels=2, seed=0)
    assert lower_bound(noise) > MARGIN
    assert np.isin(noise.suspects[:30], rows).all()


def test_probabilities_sum_to_one_even_of_labels_that_no_row_has():
    texts, labels, features = clouds(60, distance=3)
    noise = find_label_noise(texts, labels, features=features, num_labels=5, seed=0)
    assert noise.out_of_fold.shape == (60, 5)
    assert noise.out_of_fold.sum(axis=1) == pytest.approx(1)


def test_a_text_is_never_asked_about_by_a_classifier_that_saw_its_copy(monkeypatch):
    seen = []

    def spy(features, labels, folds, *, num_labels, strength, fit):
        seen.append(folds)
        return np.full((len(labels), num_labels), 1 / num_labels)

    monkeypatch.setattr(label_noise, "out_of_fold", spy)
    texts = [f"text {number % 25}" for number in range(100)]
    find_label_noise(texts, np.arange(100) % 2, features=np.zeros((100, 2)), num_labels=2, seed=0)
    assert len(seen) > 4
    assert all((folds[:25] == folds[start : start + 25]).all() for folds in seen for start in (25, 50, 75))


def test_conflicts_are_equal_texts_with_different_labels():
    texts = ["Good film", "good  FILM", "bad film", "bad film", "odd"]
    noise = find_label_noise(texts, [1, 0, 0, 0, 1], features=None, num_labels=2, seed=0)
    assert noise.conflicts.tolist() == [True, True, False, False, False]


def test_many_rows_are_sampled_with_the_shares_of_their_labels(monkeypatch):
    monkeypatch.setattr(label_noise, "ROWS_LOOKED_AT", 100)
    texts, _, features = clouds(1000, distance=3)
    labels = np.repeat([0, 1], [700, 300])
    noise = find_label_noise(texts, labels, features=features, num_labels=2, seed=0)
    assert np.bincount(noise.labels).tolist() == [70, 30]
    assert (labels[noise.rows] == noise.labels).all()
    assert len(np.unique(noise.rows)) == 100


def test_a_suspect_is_below_its_own_threshold_and_above_that_of_another():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.45, 0.55]])
    labels = np.array([0, 0, 0, 1, 1])
    # thresholds: 0.6 and 0.625; the last row is unsure of its label, but of the other one too
    assert suspects_of(probabilities, labels).tolist() == [2]


def test_a_plateau_is_told_from_errors_that_die_out():
    random = np.random.default_rng(0)
    odds = random.normal(0, 3, 1000)
    positive = 1 / (1 + np.exp(-odds))
    labels = (random.random(1000) < positive).astype(np.int64)
    wrong, _ = flipped(labels, 0.2, 2, random)
    answers = np.stack([1 - positive, positive], axis=1)
    judged, errors = noise_rate(answers, labels)
    assert beta.ppf(0.025, errors, judged - errors + 1) < 0.05
    judged, errors = noise_rate(answers, wrong)
    assert errors / judged == pytest.approx(0.2, abs=0.07)


def test_the_plateau_of_a_common_label_is_no_noise():
    # 70 % have the commonest label, which is all the answer; 75 % of those of which it is surer: better than chance
    random = np.random.default_rng(2)
    odds = random.normal(0, 1, 3_000)
    labels = (random.random(3_000) > np.where(odds > -0.5, 0.75, 0.6)).astype(np.int64)
    answers = np.maximum(1 / (1 + np.exp(-(0.8 + 0.3 * odds))), 0.501)
    assert noise_rate(np.stack([answers, 1 - answers], axis=1), labels) == (0, 0)


def test_words_that_give_a_label_away_are_seen_through_two_in_five_wrong_ones():
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 900)
    own = [[f"{letter}{number}" for number in range(8)] for letter in "abc"]
    texts = [" ".join([*random.choice(own[label], 3), random.choice(own[random.integers(3)])]) for label in labels]
    assert lower_bound(find_label_noise(texts, labels, features=None, num_labels=3, seed=0)) < MARGIN
    wrong, _ = flipped(labels, 0.4, 3, random)
    assert lower_bound(find_label_noise(texts, wrong, features=None, num_labels=3, seed=0)) > MARGIN


def test_too_few_rows_are_not_judged_and_none_at_all_is_no_error():
    noise = find_label_noise([], [], features=None, num_labels=2, seed=0)
    assert noise_rate(noise.out_of_fold, noise.labels) == (0, 0)
    few = find_label_noise(["a", "b"], [0, 1], features=None, num_labels=2, seed=0)
    assert noise_rate(few.out_of_fold, few.labels) == (0, 0)


def test_the_same_seed_gives_the_same_answers():
    texts, labels, features = clouds(100, distance=2)
    first, second = (find_label_noise(texts, labels, features=features, num_labels=3, seed=3) for _ in range(2))
    assert (first.out_of_fold == second.out_of_fold).all()
    assert (first.suspects == second.suspects).all()
