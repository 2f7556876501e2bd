"""Metrics of generated text: arithmetic by hand, laws that hold for any texts, and intervals over rows."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from ftkit.metrics.bootstrap import Bootstrap
from ftkit.metrics.names import TEXT_METRICS
from ftkit.metrics.texts import ROW_METRICS, evaluate_texts, score_rows

TEXT = "the a Katze über sat straße 猫 坐在 🙂 old. house, river ran running 42 nine"
OF_BEST_REFERENCE = ("exact_match", "token_f1", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum")


def evaluate(outputs, references, *, metrics=TEXT_METRICS, at_limit=None, num_resamples=100, seed=7, **words):
    at_limit = np.zeros(len(outputs), dtype=bool) if at_limit is None else np.array(at_limit)
    return evaluate_texts(
        outputs, references, at_limit=at_limit, metrics=metrics, num_resamples=num_resamples, seed=seed, **words
    )


def values(*args, **options):
    return {name: entry["value"] for name, entry in evaluate(*args, **options).items()}


def draw(num_rows, *, seed=0):
    """Outputs that share words with one to three references of theirs; some texts are of two lines, some are empty."""
    random, vocabulary = np.random.default_rng([seed, num_rows]), TEXT.split()

    def text(words):
        kept = [word if random.random() < 0.7 else random.choice(vocabulary) for word in words]
        return str(" ".join(kept[:3]) + random.choice([" ", "\n"]) + " ".join(kept[3:])).strip()

    outputs, references = [], []
    for _ in range(num_rows):
        words = random.choice(vocabulary, random.integers(0, 10))
        outputs.append(text(words[random.integers(2) :]))
        references.append([text(words) for _ in range(random.integers(1, 4))])
    return outputs, references


def test_exact_match_forgives_white_space_and_nothing_else():
    outputs = ["two  words\n", "Two words", "two words.", "", "anything", "no\u00a0break"]
    references = [["two words"], ["two words"], ["two words"], ["  "], ["other", "anything"], ["no break"]]
    assert score_rows(outputs, references, ["exact_match"])["exact_match"].tolist() == [1, 0, 0, 1, 1, 1]
    assert values(outputs, references, metrics=["exact_match"]) == {"exact_match": 4 / 6}


def test_token_f1_is_that_of_bags_of_words_by_hand():
    outputs = ["a a b", "a b c d", "", "", "x"]
    references = [["a b b"], ["e", "c a"], [""], ["a"], ["", "y"]]
    by_hand = [2 * 2 / (3 + 3), 2 * 2 / (4 + 2), 1, 0, 0]
    assert score_rows(outputs, references, ["token_f1"])["token_f1"] == pytest.approx(by_hand, rel=1e-15)
    assert values(outputs, references, metrics=["token_f1"])["token_f1"] == pytest.approx(sum(by_hand) / 5)


def test_length_ratio_is_a_ratio_of_sums_over_the_reference_closest_in_length():
    outputs = ["one two three", "one two", "", "one"]
    references = [["1 2", "1 2 3 4 5 6"], ["1", "1 2 3"], ["1 2"], ["1 2 3 4"]]
    # of the second row both references are one word off, and the shorter one counts
    assert values(outputs, references, metrics=["length_ratio"])["length_ratio"] == (3 + 2 + 0 + 1) / (2 + 1 + 2 + 4)


def test_edit_distance_counts_characters_against_the_nearest_reference():
    outputs = ["kitten", "Straße", "🙂猫", "ab", ""]
    references = [["sitting"], ["Strasse", "Haus"], ["🙂狗猫"], ["a", "abc"], ["xyz"]]
    edits, sizes = [3, 2, 1, 1, 3], [7, 7, 3, 3, 3]  # of the fourth row the longer one of two at the same distance
    ratio = values(outputs, references, metrics=["edit_distance"])["edit_distance"]
    assert ratio == sum(edits) / sum(sizes)
    rows = score_rows(outputs, references, ["edit_distance"])["edit_distance"]
    assert rows == pytest.approx(np.divide(edits, sizes), rel=1e-15)


def test_limit_share_is_the_share_of_rows_that_were_cut():
    share = values(["a"] * 4, [["a"]] * 4, metrics=["limit_share"], at_limit=[True, False, False, False])
    assert share == {"limit_share": 0.25}


def test_a_row_of_rouge_is_what_counting_its_words_gives():
    row = score_rows(["the old river ran"], [["an old river was running"]], ["rouge1", "rouge2", "rougeL"])
    # old, river are shared, and in one sequence: of 4 and 5 words; old river of 3 and 4 pairs
    assert [row[name][0] for name in row] == pytest.approx([2 * 2 / 9, 2 * 1 / 7, 2 * 2 / 9])


def test_perfect_outputs_get_the_best_score_of_every_metric():
    outputs = ["the old house by the river", "Über die Straße lief sie 42 mal.", "one\ntwo three four five"]
    best = dict.fromkeys(TEXT_METRICS, 1) | {"bleu": 100, "chrf": 100, "limit_share": 0, "edit_distance": 0}
    assert values(outputs, [["something else", output] for output in outputs]) == pytest.approx(best, rel=1e-12)


def test_texts_that_share_nothing_get_the_worst_score_of_every_metric():
    scores = values(["xx yy"], [["qq"]])
    assert {scores[name] for name in OF_BEST_REFERENCE} | {scores["bleu"]} == {0}
    assert scores["edit_distance"] == 5 / 2


def test_the_order_of_the_rows_changes_no_value():
    outputs, references = draw(60)
    order = np.random.default_rng(1).permutation(60)
    shuffled = [outputs[row] for row in order], [references[row] for row in order]
    assert values(*shuffled, num_resamples=2) == values(outputs, references, num_resamples=2)


def test_another_reference_never_lowers_a_score_of_the_best_reference():
    outputs, references = draw(60)
    more = [[*candidates, "a river ran"] for candidates in references]
    before, after = (score_rows(outputs, which, OF_BEST_REFERENCE) for which in (references, more))
    for name in OF_BEST_REFERENCE:
        assert (after[name] >= before[name]).all()
        assert (after[name] > before[name]).any() or name == "exact_match"


def test_an_exact_match_is_a_row_without_edits():
    outputs, references = draw(200)
    rows = score_rows(outputs, references, ["exact_match", "edit_distance"])
    assert ((rows["exact_match"] == 1) == (rows["edit_distance"] == 0)).all()
    assert 0 < rows["exact_match"].sum() < 200


@pytest.mark.parametrize("name", [name for name in ROW_METRICS if name not in ("chrf", "edit_distance")])
def test_the_mean_of_the_rows_is_the_metric(name):
    outputs, references = draw(50)
    mean = score_rows(outputs, references, [name])[name].mean()
    assert values(outputs, references, metrics=[name], num_resamples=2)[name] == pytest.approx(mean, rel=1e-14)


def test_an_interval_is_that_of_the_metric_on_resampled_texts():
    outputs, references = draw(25)
    at_limit = np.arange(25) % 3 == 0
    resampled = {name: [] for name in TEXT_METRICS}
    for weights in np.concatenate(list(Bootstrap(12, 7).row_weights(25))):
        rows = np.repeat(np.arange(25), weights.astype(int))
        texts = [outputs[row] for row in rows], [references[row] for row in rows]
        for name, value in values(*texts, at_limit=at_limit[rows], num_resamples=1).items():
            resampled[name].append(value)
    for name, entry in evaluate(outputs, references, at_limit=at_limit, num_resamples=12).items():
        assert len(set(resampled[name])) > 3
        assert (entry["low"], entry["high"]) == pytest.approx(np.percentile(resampled[name], [2.5, 97.5]), rel=1e-12)


def test_intervals_hold_the_value_and_are_narrower_with_more_rows():
    few, many = (evaluate(*draw(rows), at_limit=np.arange(rows) % 4 == 0, num_resamples=300) for rows in (40, 640))
    for name in TEXT_METRICS:
        assert few[name]["low"] <= few[name]["value"] <= few[name]["high"]
        assert many[name]["low"] < many[name]["value"] < many[name]["high"]
        ratio = (many[name]["high"] - many[name]["low"]) / (few[name]["high"] - few[name]["low"])
        assert 0.1 < ratio < 0.5  # of 16 times the rows: a quarter


def test_the_same_seed_gives_the_same_entry_whatever_else_is_asked():
    outputs, references = draw(30)
    everything = evaluate(outputs, references)
    assert list(everything) == list(TEXT_METRICS)
    for name in TEXT_METRICS:
        assert evaluate(outputs, references, metrics=[name, name]) == {name: everything[name]}
    assert evaluate(outputs, references, metrics=["chrf"], seed=8)["chrf"] != everything["chrf"]


def test_empty_texts_have_finite_scores_or_a_reason():
    entries = evaluate(["", "", "a"], [[""], ["a", ""], [""]])
    json.dumps(entries, allow_nan=False)
    assert entries["exact_match"]["value"] == entries["token_f1"]["value"] == 2 / 3
    assert {entries[name]["value"] for name in ("bleu", "chrf", "rouge1", "rougeLsum")} == {0}
    assert entries["length_ratio"]["reason"] == "the references hold no word"
    assert entries["edit_distance"]["reason"] == "the references hold no character"
    rows = score_rows(["", "abc", ""], [[""], [""], ["abc"]], ROW_METRICS)
    assert all(np.isfinite(scores).all() for scores in rows.values())
    assert rows["edit_distance"].tolist() == [0, 3, 1]


def test_no_rows_are_a_reason_and_one_row_has_no_interval():
    entries = evaluate([], [], metrics=[*TEXT_METRICS, "evaluate:./nowhere"])
    assert {(entry["value"], entry["n"], entry["reason"]) for entry in entries.values()} == {
        (None, 0, "there are no rows")
    }
    assert all(scores.shape == (0,) for scores in score_rows([], [], ROW_METRICS).values())
    single = evaluate(["a b c d"], [["a b c e"]])
    assert all((entry["low"], entry["high"]) == (None, None) for entry in single.values())
    few, enough = (evaluate(*draw(rows), metrics=["token_f1"])["token_f1"] for rows in (9, 10))
    assert "9 rows are few" in few["note"]
    assert "are few" not in enough.get("note", "")


def test_the_metrics_of_a_row_are_some_of_those_of_all_rows():
    assert set(ROW_METRICS) < set(TEXT_METRICS)


def test_arguments_that_do_not_fit_are_bugs_of_the_caller():
    with pytest.raises(ValueError, match="no such metrics: accuracy"):
        evaluate(["a"], [["a"]], metrics=["bleu", "accuracy"])
    with pytest.raises(ValueError, match="1 outputs do not fit references of 2 rows"):
        evaluate(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="row 1 has no list of references"):
        evaluate(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="row 0 has no list of references: 'a'"):
        score_rows(["a"], ["a"], ["chrf"])
    with pytest.raises(ValueError, match="at_limit"):
        evaluate(["a"], [["a"]], at_limit=[True, False])


@pytest.mark.parametrize("name", ["bleu", "length_ratio", "limit_share"])
def test_metrics_that_say_nothing_of_a_row_are_refused_for_rows(name):
    with pytest.raises(ValueError, match=f"no metrics of single rows: {name}"):
        score_rows(["a"], [["a"]], ["chrf", name])


def test_importing_the_metrics_loads_none_of_the_libraries_that_they_may_need(tmp_path):
    code = "import sys, ftkit.metrics.texts, ftkit.metrics.foreign.hub; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert loaded & {"sacrebleu", "rouge_score", "nltk", "absl", "rapidfuzz", "evaluate", "torch", "sklearn"} == set()


GERMAN = [["Die Straße führt über die schöne Brücke"], ["Häuser und Bäume stehen am Fluß"]]


def test_rouge_of_another_language_counts_whole_words_and_their_stems():
    outputs = ["Die Straßen führen über die schönen Brücken", "Hauser und Baume stehen am Flu"]
    by_language = {
        name: score_rows(outputs, GERMAN, ["rouge1"], rouge_language=name)["rouge1"].tolist()
        for name in ("english", "other", "german")
    }
    # of the second row a word in two is another one; rouge-score drops the letters by which they differ
    assert by_language["other"] == pytest.approx([3 / 7, 3 / 6])
    assert by_language["german"][0] == pytest.approx(6 / 7)
    assert by_language["english"][1] != by_language["other"][1]


def test_a_script_without_spaces_is_counted_by_characters():
    rows = score_rows(["\u732b\u304c\u5ea7\u308b"], [["\u732b\u304c\u5bdd\u308b"]], ["rouge1"], rouge_language="other")
    assert rows["rouge1"].tolist() == [0.75]


def test_rouge_says_that_words_lose_letters_from_one_in_a_hundred_on_and_names_the_key():
    def note(words_cut):
        text = " ".join(["Straße"] * words_cut + ["Weg"] * (100 - words_cut))
        return evaluate([text], [[text]], metrics=["rougeL"])["rougeL"].get("note", "")

    assert "lose letters" not in note(1)
    assert "10 % of the references' words lose letters (evaluation.rouge_language: other" in note(10)


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char"])
def test_bleu_is_that_of_sacrebleu_with_the_tokenizer_that_is_named(tokenize):
    import sacrebleu

    outputs, references = (
        ["\u732b\u5728\u57ab\u5b50\u4e0a, 3.14 caf\u00e9-bar now"],
        ["\u732b\u5750\u5728\u57ab\u5b50\u4e0a, 3.14 caf\u00e9-bar now"],
    )
    entry = evaluate(outputs, [references], metrics=["bleu"], bleu_tokenize=tokenize)["bleu"]
    assert entry["value"] == sacrebleu.corpus_bleu(outputs, [references], tokenize=tokenize).score
    assert f"tok:{tokenize}" in entry["signature"]
