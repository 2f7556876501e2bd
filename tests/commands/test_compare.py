"""Runs held against one another: differences that arithmetic knows, and laws that hold whatever the runs are."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ftkit.commands.compare import compare
from ftkit.commands.matching import judged
from ftkit.errors import UserError
from ftkit.metrics import paired
from ftkit.recipe.dump import dump_recipe
from ftkit.report.comparison import Difference, comparison_lines, difference_words
from ftkit.report.tables import LINE_WIDTH
from ftkit.runs import folder as runs
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.table import read_recipe

METHODS = {"classification": "frozen", "causal_lm": "lora", "seq2seq": "lora"}


def make_run(
    path, rows, *, task="classification", labels=("no", "yes"), data="d", split="test", tokenizer="t", **given
):
    """A finished run with one split's predictions; `given` are dotted recipe keys with `__` for the dot."""
    changes = [f"{key.replace('__', '.')}={value}" for key, value in given.items()]
    text = (
        f"task: {task}\nmodel:\n  name_or_path: builtin:tiny-bert\nmethod:\n  type: {METHODS[task]}\n"
        "data:\n  train_file: rows.jsonl\n"
    )
    recipe = read_recipe(path.parent / "recipe.yaml", changes, text=text, check_files=False).recipe
    manifest = {
        "label_names": list(labels) if task == "classification" else [],
        "hashes": {"data": {"train": "train", split: data}, "tokenizer": tokenizer},
    }
    run = runs.create(path, recipe_text=dump_recipe(recipe), manifest=manifest)
    run.write_jsonl(run.predictions_file(split), rows)
    write_json(run.metrics_file, {split: {"accuracy": {"value": 0.5, "low": 0.25, "high": 0.75, "n": len(rows)}}})
    fit = {"num_steps": 40, "best_step": 30}
    run.update_manifest(
        state="finished",
        started="2026-01-01T10:00:00+00:00",
        finished="2026-01-01T10:01:30+00:00",
        training={"trained_parameters": 1234, "fit": fit},
    )
    return path


def classified(expected, predicted, *, confidence=0.75, names=("no", "yes")):
    others = (1 - confidence) / (len(names) - 1)
    return [
        {
            "text": f"text {number}",
            "expected": names[label],
            "label": names[answer],
            "score": confidence,
            "scores": {name: confidence if place == answer else others for place, name in enumerate(names)},
        }
        for number, (label, answer) in enumerate(zip(expected, predicted, strict=True))
    ]


def spoken(losses, targets, **more):
    return [
        {"text": f"text {number}", "num_targets": size, "loss": loss, "base_loss": 9.0} | more
        for number, (loss, size) in enumerate(zip(losses, targets, strict=True))
    ]


def written(losses, **scores):
    return [
        {"source": f"s{number}", "references": ["r"], "output": "o", "loss": loss, "base_loss": 9.0}
        | {name: values[number] for name, values in scores.items()}
        for number, loss in enumerate(losses)
    ]


def found(comparison, metric, split="test"):
    """The difference of one metric of the only match."""
    (match,) = (match for match in comparison.matches if match.split == split)
    assert not match.refused, match.refused
    (one,) = (one for one in match.differences if one.metric == metric)
    return one


def the_match(comparison):
    (match,) = comparison.matches
    return match


def lines_of(comparison):
    lines = list(comparison_lines(comparison))
    assert max(map(len, lines)) <= LINE_WIDTH
    return "\n".join(lines)


@pytest.fixture
def random_pair(tmp_path):
    """Two classifiers of three labels on 300 rows, the second the better one."""
    random = np.random.default_rng(0)
    names = ("no", "perhaps", "yes")
    expected = random.integers(0, 3, 300)
    answers = [np.where(random.random(300) < right, expected, random.integers(0, 3, 300)) for right in (0.4, 0.8)]
    paths = [
        make_run(tmp_path / name, classified(expected, answer, names=names), labels=names)
        for name, answer in zip("ab", answers, strict=True)
    ]
    return paths, expected, answers


def test_accuracy_differs_by_the_rows_that_one_run_alone_got_right(random_pair):
    paths, expected, (before, after) = random_pair
    one = found(compare(paths), "accuracy")
    assert one.only_run == np.sum((after == expected) & (before != expected))
    assert one.only_against == np.sum((before == expected) & (after != expected))
    assert one.value == pytest.approx((one.only_run - one.only_against) / 300)
    assert one.real
    assert one.better == "B"
    assert 0 < one.low < one.value < one.high


def test_the_interval_is_that_of_the_matched_mean(random_pair):
    paths, expected, (before, after) = random_pair
    one = found(compare(paths), "accuracy")
    gaps = (after == expected).astype(float) - (before == expected)
    half = 1.96 * gaps.std() / math.sqrt(300)
    assert one.low == pytest.approx(one.value - half, abs=0.15 * half)
    assert one.high == pytest.approx(one.value + half, abs=0.15 * half)


def test_macro_f1_differs_as_scikit_learn_says(random_pair):
    paths, expected, (before, after) = random_pair
    one = found(compare(paths), "f1_macro")
    scores = [f1_score(expected, answer, average="macro") for answer in (before, after)]
    assert one.value == pytest.approx(scores[1] - scores[0])
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(200):
        rows = random.integers(0, 300, 300)
        ours, theirs = (f1_score(expected[rows], answer[rows], average="macro") for answer in (after, before))
        drawn.append(ours - theirs)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert one.low == pytest.approx(low, abs=0.15 * (high - low))
    assert one.high == pytest.approx(high, abs=0.15 * (high - low))
    assert one.real


def test_the_loss_of_a_classifier_is_read_from_its_scores(tmp_path):
    rows = [classified([1] * 20, [1] * 20, confidence=confidence) for confidence in (0.5, 0.8)]
    comparison = compare([make_run(tmp_path / name, some) for name, some in zip("ab", rows, strict=True)])
    one = found(comparison, "loss")
    assert one.value == pytest.approx(-math.log(0.8 / 0.5))
    assert not one.higher_is_better
    assert (one.real, one.better) == (True, "B")
    assert "real: B is better by 0.470 (95 % 0.470 to 0.470)" in lines_of(comparison)


def test_a_probability_that_was_rounded_to_zero_is_no_infinite_loss(tmp_path):
    rows = classified([1, 1, 1], [0, 1, 1], confidence=1.0)
    one = found(compare([make_run(tmp_path / "a", rows), make_run(tmp_path / "b", rows[:])]), "loss")
    assert one.value == 0
    assert one.note.startswith("1 of 3 rows counted with a probability of 5e-07")


def test_the_loss_of_a_language_model_is_weighed_by_its_targets(tmp_path):
    sizes = [1, 9] * 20
    before = make_run(tmp_path / "a", spoken([2.0, 2.0] * 20, sizes), task="causal_lm")
    after = make_run(tmp_path / "b", spoken([3.0, 1.5] * 20, sizes), task="causal_lm")
    one = found(compare([before, after]), "loss")
    assert one.value == pytest.approx((1 * 1.0 + 9 * -0.5) / 10)
    assert (one.real, one.better) == (True, "B")


def test_rows_with_other_targets_are_left_out_of_the_loss_and_counted(tmp_path):
    before = make_run(tmp_path / "a", spoken([2.0] * 4 + [None], [5, 5, 5, 5, 0]), task="causal_lm")
    after = make_run(tmp_path / "b", spoken([1.0] * 3 + [9.0, None], [5, 5, 5, 4, 0]), task="causal_lm")
    one = found(compare([before, after]), "loss")
    assert (one.value, one.n) == (-1.0, 3)
    assert "2 rows with other targets left out" in one.note


def test_other_tokenizers_leave_the_loss_alone_unless_there_are_bytes(tmp_path):
    losses, sizes = [1.0] * 10, [4] * 10
    plain = [
        make_run(tmp_path / name, spoken(losses, sizes), task="causal_lm", tokenizer=name) for name in ("one", "two")
    ]
    match = the_match(compare(plain))
    assert not match.differences
    assert "the tokenizers differ" in match.notes[0]
    with_bytes = [
        make_run(
            tmp_path / f"{name} bytes",
            spoken(losses, sizes, text_nll=nll, text_bytes=8),
            task="causal_lm",
            tokenizer=name,
        )
        for name, nll in (("one", 8 * math.log(2)), ("two", 4 * math.log(2)))
    ]
    one = found(compare(with_bytes), "bits_per_byte")
    assert one.value == pytest.approx(-0.5)


def test_means_of_generated_texts_are_compared_too_even_between_tokenizers(tmp_path):
    scores = [
        {"exact_match": [0.0] * 30, "chrf": [40.0] * 30},
        {"exact_match": [0.0, 1.0, 1.0] * 10, "chrf": [41.0] * 30},
    ]
    paths = [
        make_run(tmp_path / name, written([1.0] * 30, **some), task="seq2seq", tokenizer=name)
        for name, some in zip("ab", scores, strict=True)
    ]
    comparison = compare(paths)
    assert found(comparison, "exact_match").value == pytest.approx(2 / 3)
    assert found(comparison, "chrf").value == pytest.approx(1.0)
    assert [one.metric for one in the_match(comparison).differences] == ["exact_match", "chrf"]


def test_labels_that_are_written_are_compared_as_labels(tmp_path):
    paths = []
    for name, answer, loss in (("a", "no", 0.75), ("b", "yes", 0.25)):
        row = {"expected": "yes", "output": answer, "label": answer, "score": 0.9, "scores": {}, "loss": loss}
        paths.append(make_run(tmp_path / name, [{"source": f"s{n}"} | row for n in range(12)], task="seq2seq"))
        Run(paths[-1]).update_manifest(label_names=["no", "yes"])
    comparison = compare(paths)
    assert {one.metric: one.value for one in the_match(comparison).differences} == {
        "accuracy": 1.0,
        "f1_macro": 1.0,
        "loss": -0.5,
    }
    assert all(one.better == "B" for one in the_match(comparison).differences)


def test_a_run_and_its_copy_differ_by_nothing_that_is_real(random_pair, tmp_path):
    (path, _), _, _ = random_pair
    rows = [json.loads(line) for line in Run(path).predictions_file("test").read_text().splitlines()]
    comparison = compare([path, make_run(tmp_path / "copy", rows, labels=("no", "perhaps", "yes"))])
    for one in the_match(comparison).differences:
        assert (one.value, one.low, one.high, one.p, one.real) == (0, 0, 0, 1, False), one
    assert comparison.recipe == {}
    assert lines_of(comparison).count("no real difference: between 0 and 0 (B minus A)") == 3


@pytest.mark.parametrize("data", ["d", "another order"])
def test_swapping_the_runs_flips_every_sign_and_nothing_else(random_pair, tmp_path, data):
    (first, second), _, _ = random_pair
    rows = [json.loads(line) for line in Run(second).predictions_file("test").read_text().splitlines()]
    rows = rows if data == "d" else rows[::-1]
    second = make_run(tmp_path / "other", rows, labels=("no", "perhaps", "yes"), data=data)
    there, back = (the_match(compare(match)).differences for match in ([first, second], [second, first]))
    for one, other in zip(there, back, strict=True):
        assert one.value == pytest.approx(-other.value)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.p == other.p
        assert one.real == other.real
        # B and A have changed places too
        assert {one.better, other.better} in ({None}, {"A", "B"})
        assert (one.only_run, one.only_against) == (other.only_against, other.only_run)


def test_the_baseline_may_be_chosen_and_the_letters_stay(random_pair):
    (first, second), _, _ = random_pair
    plain, chosen = compare([first, second]), compare([first, second], against=second)
    assert (chosen.against, the_match(chosen).run) == ("B", "A")
    assert found(chosen, "accuracy").value == -found(plain, "accuracy").value
    assert found(chosen, "accuracy").better == found(plain, "accuracy").better == "B"
    assert compare([second], against=first) == plain


def test_rows_of_other_data_are_found_by_text_and_target(tmp_path):
    rows = classified([1] * 10, [1] * 10)
    relabelled = [rows[0] | {"expected": "no"}]
    others = [row | {"text": f"new {row['text']}"} for row in rows]
    paths = [
        make_run(tmp_path / "a", rows),
        make_run(tmp_path / "b", [*relabelled, *others, *rows[:0:-1]], data="other"),
    ]
    match = the_match(compare(paths))
    assert (match.matched, match.num_paired, match.num_rows) == ("text", 9, (20, 10))
    assert "B against A, 9 rows (matched by text, of 20 and 10)" in lines_of(compare(paths))


def test_texts_that_predictions_cut_are_not_mistaken_for_one_another(tmp_path):
    cut = {"text": "x" * 300 + " ...", "num_targets": 5, "loss": 1.0, "base_loss": 1.0}
    rows = [cut, cut | {"loss": 2.0}, cut | {"text": "short"}]
    paths = [make_run(tmp_path / name, rows, task="causal_lm", data=name) for name in "ab"]
    assert the_match(compare(paths)).num_paired == 1


def test_what_cannot_be_paired_is_refused_with_the_reason(tmp_path):
    rows = classified([1] * 4, [1] * 4)
    base = make_run(tmp_path / "base", rows)
    others = {
        "no row is in both": make_run(tmp_path / "texts", [row | {"text": "?"} for row in rows], data="other"),
        "never in one run alone": make_run(tmp_path / "labels", rows, labels=("never", "yes", "no")),
        "the tasks are causal_lm and classification": make_run(tmp_path / "task", spoken([1.0], [1]), task="causal_lm"),
        "has no predictions of test": make_run(tmp_path / "split", rows, split="validation"),
        "line 2, is no JSON": make_run(tmp_path / "damaged", rows),
        "is not as ftkit writes it": make_run(tmp_path / "odd", [{"text": "text 0", "expected": "yes"}] * 4),
    }
    Run(tmp_path / "damaged").predictions_file("test").write_text('{"text": 1}\n{')
    comparison = compare([base, *others.values()], splits=["test"])
    for reason, match in zip(others, comparison.matches, strict=True):
        assert reason in match.refused
        assert not match.differences
    assert "not compared" in lines_of(comparison)


def test_a_run_that_is_under_way_shows_what_exists(tmp_path):
    rows = classified([1] * 4, [1] * 4)
    begun = runs.create(tmp_path / "begun", recipe_text="task: [", manifest={})
    begun.update_manifest(state="stopped")
    comparison = compare([make_run(tmp_path / "a", rows), begun.path])
    column = comparison.runs[1]
    assert (column.state, column.task, column.seconds, column.model_bytes, dict(column.metrics)) == (
        "stopped", None, None, None, {},
    )  # fmt: skip
    assert the_match(comparison).refused == "the recipe of B cannot be read"
    assert "stopped" in lines_of(comparison)


def test_columns_tell_verdict_cost_and_the_keys_that_differ(tmp_path):
    rows = classified([1] * 4, [1] * 4)
    first = make_run(tmp_path / "a", rows, training__learning_rate=0.01)
    second = make_run(tmp_path / "b", rows, training__learning_rate=0.02)
    (first / "eval").mkdir()
    write_json(
        first / "eval" / "report.json", {"verdict": {"headline": "overfit", "title": "Overfit", "sentence": "It is."}}
    )
    (first / "model").mkdir()
    (first / "model" / "weights").write_bytes(b"1" * 2500)
    comparison = compare([first, second])
    one, other = comparison.runs
    assert (one.verdict, one.headline, one.sentence) == ("Overfit", "overfit", "It is.")
    assert (other.verdict, other.headline) == (f"not evaluated: ftkit eval {second}", None)
    assert (one.seconds, one.trained_parameters, one.num_steps, one.best_step) == (90, 1234, 40, 30)
    assert (one.model_bytes, other.model_bytes) == (2500, None)
    assert comparison.recipe == {"training.learning_rate": {"A": 0.01, "B": 0.02}}
    shown = lines_of(comparison)
    for words in ("Overfit", "2.5 kB", "1,234", "90 s", "0.2500 to 0.7500", "training.learning_rate"):
        assert words in shown


def test_holm_counts_every_comparison_of_the_split(tmp_path):
    # the second run alone got 9 rows right and the first alone 1: p = 22 / 1024 by itself, not among 7 runs
    expected, base = [1] * 40, [0] * 9 + [1] * 31
    better = [1] * 9 + [0] + [1] * 30
    paths = [make_run(tmp_path / "base", classified(expected, base))]
    paths += [make_run(tmp_path / f"same {n}", classified(expected, base)) for n in range(6)]
    paths.append(make_run(tmp_path / "better", classified(expected, better)))
    comparison = compare(paths)
    one = next(one for one in comparison.matches[-1].differences if one.metric == "accuracy")
    assert one.p == pytest.approx(22 / 1024)
    assert one.low > 0
    assert not one.real
    match = replace(comparison.matches[-1], differences=[one])
    assert judged([match])[0].differences[0].real


@pytest.mark.slow
def test_equal_models_are_seldom_called_different(tmp_path, monkeypatch):
    monkeypatch.setattr(paired, "RESAMPLES", 300)
    random, accused, trials = np.random.default_rng(3), 0, 60
    for trial in range(trials):
        expected = random.integers(0, 2, 60)
        answers = [np.where(random.random(60) < 0.7, expected, 1 - expected) for _ in "ab"]
        paths = [make_run(tmp_path / f"{trial}-{n}", classified(expected, some)) for n, some in enumerate(answers)]
        accused += any(one.real for one in the_match(compare(paths)).differences)
    # at 5 % in all, 8 of 60 or more has a chance of 1 %
    assert accused < 8


def test_validation_is_told_to_be_kinder_and_seeds_to_be_chance(tmp_path):
    rows = classified([1] * 4, [1] * 4)
    paths = [
        make_run(tmp_path / name, rows, split="validation", training__seed=seed) for name, seed in (("a", 1), ("b", 2))
    ]
    notes = compare(paths).notes
    assert any(note.startswith("validation chose the checkpoints") for note in notes)
    assert any(note.startswith("only the seed differs") for note in notes)
    assert compare(paths, splits=["test"]).matches == []


def test_the_dictionary_is_json_and_says_its_version(random_pair):
    told = json.loads(json.dumps(compare(random_pair[0]).to_dict(), allow_nan=False))
    assert told["version"] == 1
    assert told["pairs"][0]["differences"][0]["metric"] == "accuracy"
    assert [run["letter"] for run in told["runs"]] == ["A", "B"]


def test_eight_runs_fit_the_width_and_nine_are_refused(tmp_path):
    rows = classified([1, 0] * 4, [1] * 8)
    paths = [
        make_run(tmp_path / f"run-{number}", rows, training__learning_rate=10.0**-number) for number in range(1, 10)
    ]
    shown = lines_of(compare(paths[:8]))
    assert "H against A" in shown
    with pytest.raises(UserError, match="9 runs to compare"):
        compare(paths)


def test_too_few_runs_the_same_one_twice_and_no_run_are_refused(tmp_path, monkeypatch):
    path = make_run(tmp_path / "a", classified([1], [1]))
    with pytest.raises(UserError, match="1 run to compare"):
        compare([path])
    with pytest.raises(UserError, match="the same run twice"):
        compare([path, path])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="the same run twice"):
        compare([path, path.relative_to(tmp_path)])
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="is no run of ftkit"):
        compare([path, tmp_path / "folder"])


def test_an_interval_beside_zero_that_holms_correction_does_not_pass_is_not_called_no_difference():
    found = Difference("f1", -0.05, -0.1, -0.01, 100, 0.03, True, real=False, better=None)
    said = difference_words(found, run="B", against="A")
    assert said == "cannot tell among so many comparisons (Holm's correction): between -0.100 and -0.010 (B minus A)"
