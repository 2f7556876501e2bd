"""Metrics of language models: laws, a plain loop, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ftkit.metrics import bootstrap as bootstrap_module
from ftkit.metrics.bootstrap import FEW_DOCUMENTS, Bootstrap
from ftkit.metrics.language import evaluate_language
from ftkit.metrics.names import LANGUAGE_METRICS
from ftkit.metrics.scores import Scores


def evaluate(scores, *, metrics=LANGUAGE_METRICS, num_resamples=200, seed=7):
    return evaluate_language(scores, metrics=metrics, num_resamples=num_resamples, seed=seed)


def draw(num_documents, *, seed=0):
    """Documents of very different lengths, some harder than others; a special token ends each."""
    random = np.random.default_rng([seed, num_documents])
    lengths = random.geometric(1 / 50, num_documents) + 1
    documents = np.repeat(np.arange(num_documents), lengths)
    difficulty = random.uniform(1.0, 4.0, num_documents)
    last = np.append(documents[1:] != documents[:-1], True)
    return {
        "documents": documents,
        "num_documents": num_documents,
        "nll": random.gamma(difficulty[documents]),
        "correct": random.random(len(documents)) < 0.4,
        "num_bytes": np.where(last, 0, random.integers(1, 9, len(documents))),
        "special": last,
    }


def by_document(tokens):
    """The five sums of each document, from one value a target."""

    def total(values):
        return np.bincount(tokens["documents"], weights=values, minlength=tokens["num_documents"])

    text_nll = np.where(tokens["special"], 0.0, tokens["nll"])
    text_bytes = np.where(tokens["special"], 0, tokens["num_bytes"])
    targets = np.ones(len(tokens["nll"]))
    sums = [total(values) for values in (tokens["nll"], targets, tokens["correct"], text_nll, text_bytes)]
    return Scores(sums[0], sums[1].astype(int), sums[2].astype(int), sums[3], sums[4].astype(int))


def by_hand(tokens):
    """The four metrics in a loop over tokens that shares nothing with the code under test."""
    nats = text_nats = targets = hits = size = 0.0
    for nll, correct, num_bytes, special in zip(
        tokens["nll"], tokens["correct"], tokens["num_bytes"], tokens["special"], strict=True
    ):
        nats, targets, hits = nats + nll, targets + 1, hits + correct
        if not special:
            text_nats, size = text_nats + nll, size + num_bytes
    return {
        "loss": nats / targets,
        "perplexity": math.e ** (nats / targets),
        "bits_per_byte": text_nats / size / math.log(2),
        "token_accuracy": hits / targets,
    }


def test_every_metric_equals_a_plain_loop_over_the_tokens():
    tokens = draw(40)
    entries = evaluate(by_document(tokens))
    assert {name: entry["value"] for name, entry in entries.items()} == pytest.approx(by_hand(tokens), rel=1e-12)
    assert all(entry["n"] == 40 for entry in entries.values())
    assert all(entry["num_targets"] == len(tokens["nll"]) for entry in entries.values())


@pytest.mark.parametrize("num_tokens", [2, 50, 50_257])
def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(num_tokens):
    tokens = draw(12)
    tokens["nll"] = np.full(len(tokens["nll"]), math.log(num_tokens))
    entry = evaluate(by_document(tokens))["perplexity"]
    assert [entry[key] for key in ("value", "low", "high")] == pytest.approx([num_tokens] * 3)


def test_a_uniform_model_of_bytes_needs_eight_bits_a_byte():
    tokens = draw(12)
    tokens["nll"] = np.full(len(tokens["nll"]), math.log(256))
    tokens["num_bytes"] = np.where(tokens["special"], 0, 1)
    assert evaluate(by_document(tokens))["bits_per_byte"]["value"] == pytest.approx(8)


def test_bits_per_byte_do_not_change_when_tokens_are_merged():
    """Two tokens made one keep their bytes and, by the chain rule, their joint likelihood."""
    tokens = draw(30)
    scores = by_document(tokens)
    merged = Scores(
        scores.nll, (scores.num_targets + 1) // 2, scores.num_correct // 2, scores.text_nll, scores.text_bytes
    )
    fine, coarse = evaluate(scores), evaluate(merged)
    assert fine["bits_per_byte"]["value"] == coarse["bits_per_byte"]["value"]
    assert fine["perplexity"]["value"] < coarse["perplexity"]["value"]


def test_special_tokens_count_in_the_loss_and_not_in_bits_per_byte():
    tokens = draw(30)
    dear = dict(tokens, nll=tokens["nll"] + 5.0 * tokens["special"])
    cheap_entries, dear_entries = (evaluate(by_document(which)) for which in (tokens, dear))
    assert dear_entries["loss"]["value"] > cheap_entries["loss"]["value"]
    assert dear_entries["bits_per_byte"] == cheap_entries["bits_per_byte"]


def test_intervals_are_those_of_documents_resampled_by_hand():
    tokens = draw(60)
    scores = by_document(tokens)
    ours = evaluate(scores, num_resamples=20_000)
    random, drawn = np.random.default_rng(0), {"loss": [], "bits_per_byte": []}
    for _ in range(2000):
        rows = random.integers(0, 60, 60)
        drawn["loss"].append(scores.nll[rows].sum() / scores.num_targets[rows].sum())
        drawn["bits_per_byte"].append(scores.text_nll[rows].sum() / math.log(2) / scores.text_bytes[rows].sum())
    for name, values in drawn.items():
        low, high = np.percentile(values, [2.5, 97.5])
        assert ours[name]["low"] == pytest.approx(low, abs=0.1 * (high - low))
        assert ours[name]["high"] == pytest.approx(high, abs=0.1 * (high - low))
    assert ours["perplexity"]["high"] == math.exp(ours["loss"]["high"])


def test_intervals_cover_the_truth_about_95_times_in_100():
    """Documents differ in difficulty and length; an interval over tokens would cover far less often."""
    random, covered, trials = np.random.default_rng(3), 0, 400
    for trial in range(trials):
        lengths = random.geometric(1 / 80, 100)
        nll = random.gamma(lengths * np.maximum(0.1, random.normal(3.0, 0.5, 100)))
        scores = Scores(nll, lengths, lengths // 3, nll, lengths * 4)
        entry = evaluate(scores, metrics=["loss"], num_resamples=300, seed=trial)["loss"]
        covered += entry["low"] <= 3.0 <= entry["high"]
    assert 0.91 <= covered / trials <= 0.98


def test_sums_of_many_rows_drawn_in_groups_have_the_same_spread(monkeypatch):
    columns = np.random.default_rng(0).exponential(size=(3000, 2))
    one_by_one = Bootstrap(4000, 0).sums(columns)
    monkeypatch.setattr(bootstrap_module, "MAX_UNITS", 1000)
    in_groups = Bootstrap(4000, 0).sums(columns)
    ratios = [sums[:, 0] / sums[:, 1] for sums in (one_by_one, in_groups)]
    assert ratios[1].mean() == pytest.approx(ratios[0].mean(), rel=0.005)
    assert ratios[1].std() == pytest.approx(ratios[0].std(), rel=0.1)


def test_the_same_seed_gives_the_same_entry_whatever_else_is_asked():
    scores = by_document(draw(50))
    everything = evaluate(scores)
    for name in LANGUAGE_METRICS:
        alone = evaluate(scores, metrics=[name])
        assert list(alone) == list(dict.fromkeys(["loss", name]))
        assert alone[name] == everything[name]


def test_a_single_document_has_no_interval_and_few_have_one_with_a_warning():
    single = evaluate(by_document(draw(1)))
    for entry in single.values():
        assert (entry["low"], entry["high"], entry["n"]) == (None, None, 1)
        assert "a single text" in entry["note"]
    few, enough = (evaluate(by_document(draw(num)))["loss"] for num in (FEW_DOCUMENTS - 1, FEW_DOCUMENTS))
    assert few["low"] < few["value"] < few["high"]
    assert "are few" in few["note"]
    assert "note" not in enough


def test_documents_without_a_target_are_left_out():
    tokens = draw(20)
    with_empty = dict(tokens, documents=tokens["documents"] * 2, num_documents=40)
    assert evaluate(by_document(with_empty)) == evaluate(by_document(tokens))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_number_but_a_reason(bad):
    tokens = draw(20)
    tokens["nll"][5] = bad
    entries = evaluate(by_document(tokens))
    assert all(entry["value"] is None for entry in entries.values())
    assert entries["loss"]["reason"] == "1 of 20 documents have a loss that is not finite"
    json.dumps(entries, allow_nan=False)


def test_an_infinite_loss_of_a_special_token_spoils_the_loss():
    tokens = draw(20)
    tokens["nll"][np.flatnonzero(tokens["special"])[0]] = math.inf
    scores = by_document(tokens)
    assert np.isfinite(scores.text_nll).all()
    assert evaluate(scores)["loss"]["value"] is None


def test_a_perplexity_too_large_for_a_number_is_said_and_the_loss_stays():
    tokens = draw(20)
    tokens["nll"] = tokens["nll"] + 800
    entries = evaluate(by_document(tokens))
    assert entries["loss"]["value"] > 800
    assert entries["perplexity"]["value"] is None
    assert "nats is too large" in entries["perplexity"]["reason"]
    json.dumps(entries, allow_nan=False)


def test_a_bound_of_the_perplexity_too_large_for_a_number_leaves_the_value():
    nll = np.array([6850.0, 7250.0] * 10)  # 705 nats a token, exp of which is the largest there is at 709.8
    ten = np.full(20, 10)
    entry = evaluate(Scores(nll, ten, ten, nll, ten), metrics=["perplexity"])["perplexity"]
    assert entry["value"] == pytest.approx(math.exp(705))
    assert (entry["low"], entry["high"]) == (None, None)
    assert "upper bound" in entry["note"]


def test_targets_without_text_have_no_bits_per_byte():
    tokens = draw(20)
    tokens["special"][:] = True
    entries = evaluate(by_document(tokens))
    assert entries["bits_per_byte"]["reason"] == "no target stands for text"
    assert entries["loss"]["value"] is not None


def test_nothing_to_predict_is_a_reason():
    none = np.zeros(3)
    entries = evaluate(Scores(none, none.astype(int), none.astype(int), none, none.astype(int)))
    assert entries["loss"]["reason"] == "there is no token to predict"
    assert entries["loss"]["n"] == 0


def test_unknown_metrics_and_arrays_that_do_not_fit_are_bugs_of_the_caller():
    scores = by_document(draw(5))
    with pytest.raises(ValueError, match="no such metrics: accuracy"):
        evaluate(scores, metrics=["loss", "accuracy"])
    with pytest.raises(ValueError, match="do not fit"):
        evaluate(Scores(scores.nll[:3], scores.num_targets, scores.num_correct, scores.nll, scores.nll))
