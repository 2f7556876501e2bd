"""The intervals: the same in distribution as resampled rows, right about as often as they say, and repeatable."""

import numpy as np
import pytest
from sklearn import metrics as reference

from ftkit.metrics import bootstrap, ranking
from ftkit.metrics.bootstrap import Bootstrap, with_interval
from tests.fixtures.tiers import slow


def by_hand(labels, probabilities, score, *, num_resamples, seed=0):
    """Percentiles of a metric over rows drawn one by one."""
    random = np.random.default_rng(seed)
    scores = []
    for _ in range(num_resamples):
        rows = random.integers(0, len(labels), len(labels))
        scores.append(score(labels[rows], probabilities[rows]))
    return np.percentile(scores, [2.5, 97.5])


SCORES = {
    "loss": lambda labels, p: reference.log_loss(labels, p, labels=np.arange(p.shape[1])),
    "accuracy": lambda labels, p: reference.accuracy_score(labels, p.argmax(axis=1)),
    "f1_macro": lambda labels, p: reference.f1_score(labels, p.argmax(axis=1), average="macro"),
    "matthews": lambda labels, p: reference.matthews_corrcoef(labels, p.argmax(axis=1)),
    "roc_auc": lambda labels, p: reference.roc_auc_score(labels, p[:, 1]),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.slow
def test_intervals_are_those_of_rows_resampled_by_hand(evaluate, random_predictions, name):
    labels, probabilities = random_predictions(2, 120, sharpness=1.0, decimals=2)
    ours = evaluate(labels, probabilities, metrics=[name], num_resamples=20_000)[name]
    low, high = by_hand(labels, probabilities, SCORES[name], num_resamples=1000)
    # 1,000 draws by hand leave each percentile uncertain by some 3 % of the width
    assert ours["low"] == pytest.approx(low, abs=0.12 * (high - low))
    assert ours["high"] == pytest.approx(high, abs=0.12 * (high - low))


def test_pair_counts_have_the_moments_of_a_multinomial():
    counts = np.array([40, 10, 1])
    drawn = np.concatenate(list(Bootstrap(50_000, 1).cell_counts(counts)))
    assert (drawn.sum(axis=1) == 51).all()
    assert drawn.mean(axis=0) == pytest.approx(counts, rel=0.02)
    assert drawn.var(axis=0) == pytest.approx(counts * (1 - counts / 51), rel=0.05)


def test_row_weights_sum_to_the_rows_and_come_in_chunks(monkeypatch):
    monkeypatch.setattr(bootstrap, "MAX_ELEMENTS", 250)
    chunks = list(Bootstrap(101, 0).row_weights(100))
    assert [len(chunk) for chunk in chunks] == [2] * 50 + [1]
    assert all((chunk.sum(axis=1) == 100).all() for chunk in chunks)


@pytest.mark.parametrize(("name", "true_value"), [slow("accuracy", 0.8), slow("recall", 0.8), ("matthews", 0.6)])
def test_intervals_cover_the_truth_about_95_times_in_100(evaluate, name, true_value):
    random, covered, trials = np.random.default_rng(5), 0, 500
    for _ in range(trials):
        labels = random.integers(0, 2, 400)
        predicted = np.where(random.random(400) < 0.8, labels, 1 - labels)
        entry = evaluate(labels, np.eye(2)[predicted], metrics=[name], num_resamples=300)[name]
        covered += entry["low"] <= true_value <= entry["high"]
    # four standard errors below, three above: 300 resamples and 400 rows cost the interval about a point
    assert 0.91 <= covered / trials <= 0.98


def test_calibrated_models_are_not_accused_and_overconfident_ones_are(evaluate):
    random, accused, caught, trials = np.random.default_rng(6), 0, 0, 200
    for _ in range(trials):
        positive = random.random(300)
        labels = (random.random(300) < positive).astype(int)
        honest = np.stack([1 - positive, positive], axis=1)
        overconfident = honest**4 / (honest**4).sum(axis=1, keepdims=True)
        accused += evaluate(labels, honest, metrics=["ece"], num_resamples=200)["ece"]["low"] > 0
        caught += evaluate(labels, overconfident, metrics=["ece"], num_resamples=200)["ece"]["low"] > 0
    assert accused / trials < 0.08
    assert caught / trials > 0.95


def test_the_same_seed_gives_the_same_interval_whatever_else_is_asked(evaluate, random_predictions):
    labels, probabilities = random_predictions(3, 200)
    everything = evaluate(labels, probabilities)
    for name in ("loss", "f1_macro", "roc_auc", "ece"):
        assert evaluate(labels, probabilities, metrics=[name])[name] == everything[name]


def test_many_rows_drawn_in_groups_give_the_same_width(monkeypatch):
    values = np.random.default_rng(0).exponential(size=3000)
    rows_one_by_one = Bootstrap(4000, 0).means(values)[:, 0]
    monkeypatch.setattr(bootstrap, "MAX_UNITS", 1000)
    groups = Bootstrap(4000, 0).means(values)[:, 0]
    assert groups.mean() == pytest.approx(rows_one_by_one.mean(), rel=0.005)
    assert groups.std() == pytest.approx(rows_one_by_one.std(), rel=0.1)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_a_linearised_area_has_the_interval_of_the_exact_one(
    evaluate, random_predictions, monkeypatch, num_classes, name
):
    labels, probabilities = random_predictions(num_classes, 2000, sharpness=1.0, decimals=2)
    exact = evaluate(labels, probabilities, metrics=[name], num_resamples=1000)[name]
    monkeypatch.setattr(ranking, "MAX_ROW_DRAWS", 0)
    linear = evaluate(labels, probabilities, metrics=[name], num_resamples=1000)[name]
    assert linear["value"] == exact["value"]
    assert linear != exact
    for bound in ("low", "high"):
        assert linear[bound] == pytest.approx(exact[bound], abs=0.1 * (exact["high"] - exact["low"]))


def test_resamples_without_a_value_are_left_out_and_counted(evaluate):
    scores = evaluate([0, 0, 0, 0, 1], [[0.9, 0.1]] * 4 + [[0.2, 0.8]], metrics=["recall"], num_resamples=1000)
    # a resample misses the one positive row with probability 0.8**5 = 0.33
    left_out = int(scores["recall"]["note"].split()[2])
    assert 270 < left_out < 390


def test_an_interval_without_width_says_what_it_cannot_see():
    entry = with_interval(1.0, np.ones(100), num_rows=30)
    assert (entry["low"], entry["high"]) == (1.0, 1.0)
    assert "does not show" in entry["note"]


def test_one_row_has_no_interval():
    entry = with_interval(1.0, np.ones(100), num_rows=1)
    assert entry["low"] is None
    assert entry["note"] == "too few rows for an interval"
