"""Written labels: what counts as one, and metrics that equal a classifier's when every output is one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ftkit.metrics.bootstrap import Bootstrap
from ftkit.metrics.classification import evaluate_classification
from ftkit.metrics.generated_labels import evaluate_generated_labels, match_labels
from ftkit.metrics.names import GENERATED_LABEL_METRICS


def evaluate(generated, labels, *, num_classes=3, metrics=GENERATED_LABEL_METRICS, num_resamples=200, seed=7):
    return evaluate_generated_labels(
        np.array(generated, dtype=np.int64),
        np.array(labels, dtype=np.int64),
        label_names=[f"class {index}" for index in range(num_classes)],
        metrics=metrics,
        num_resamples=num_resamples,
        seed=seed,
    )


def draw(num_rows, *, num_classes=3, lowest=-1, seed=0):
    random = np.random.default_rng([seed, num_rows])
    labels = random.integers(0, num_classes, num_rows)
    return np.where(random.random(num_rows) < 0.6, labels, random.integers(lowest, num_classes, num_rows)), labels


def test_an_output_is_a_label_when_it_is_its_name_but_for_white_space():
    names = ["sehr gut", "Gut", "🙂", "积极 的"]
    outputs = ["sehr  gut\n", " Gut", "gut", "Gut.", "🙂", "积极\u3000的", "", "sehr gut Gut"]
    assert match_labels(outputs, names).tolist() == [0, 1, -1, -1, 2, 3, -1, -1]


def test_an_empty_output_is_a_label_when_an_empty_name_is():
    assert match_labels(["", "  ", "a"], ["a", ""]).tolist() == [1, 1, 0]
    assert match_labels([], ["a"]).shape == (0,)


def test_label_names_that_white_space_alone_tells_apart_are_refused():
    with pytest.raises(ValueError, match="white space alone"):
        match_labels(["a b"], ["a b", "a  b"])


def test_an_output_that_is_no_label_is_wrong_and_accuses_no_class():
    entries = evaluate([0, -1, 1, 1, -1], [0, 0, 1, 0, 1], num_classes=2)
    assert entries["generated_accuracy"]["value"] == 2 / 5
    assert entries["no_label"]["value"] == 2 / 5
    # class 0: 1 hit, 3 labels, 1 output; class 1: 1 hit, 2 labels, 2 outputs
    assert entries["generated_f1_macro"]["value"] == pytest.approx((2 / 4 + 2 / 4) / 2)
    assert "2 of 5 outputs are none of the labels and count as wrong" in entries["generated_accuracy"]["note"]
    assert "none of the labels" not in entries["no_label"].get("note", "")


@pytest.mark.parametrize("num_classes", [2, 5])
def test_macro_f1_is_that_of_scikit_learn_over_the_classes(num_classes):
    generated, labels = draw(80, num_classes=num_classes)
    theirs = f1_score(labels, generated, labels=list(range(num_classes)), average="macro")
    assert (generated == -1).any()
    ours = evaluate(generated, labels, num_classes=num_classes)["generated_f1_macro"]
    assert ours["value"] == pytest.approx(theirs, rel=1e-14)


def test_when_every_output_is_a_label_the_entries_are_those_of_a_classifier():
    generated, labels = draw(60, lowest=0)
    ours = evaluate(generated, labels)
    theirs = evaluate_classification(
        labels,
        np.eye(3)[generated],
        label_names=["a", "b", "c"],
        metrics=["accuracy", "f1_macro"],
        positive_label=None,
        num_resamples=200,
        seed=7,
    )
    assert ours["generated_accuracy"] == theirs["accuracy"]
    assert ours["generated_f1_macro"] == theirs["f1_macro"]
    assert ours["no_label"]["value"] == 0


def test_perfect_labels_score_one_and_none_at_all_score_zero():
    labels = [0, 1, 2, 2]
    assert [entry["value"] for entry in evaluate(labels, labels).values()] == [1, 1, 0]
    assert [entry["value"] for entry in evaluate([-1] * 4, labels).values()] == [0, 0, 1]


def test_intervals_are_those_of_counts_resampled_by_hand():
    generated, labels = draw(50)
    pairs, counts = np.unique(np.stack([labels, generated % 4]), axis=1, return_counts=True)
    shares = {name: [] for name in GENERATED_LABEL_METRICS}
    for drawn in np.concatenate(list(Bootstrap(30, 7).cell_counts(counts))):
        label, output = np.repeat(pairs, drawn, axis=1)
        shares["generated_accuracy"].append((label == output).mean())
        shares["generated_f1_macro"].append(f1_score(label, output, labels=[0, 1, 2], average="macro"))
        shares["no_label"].append((output == 3).mean())
    for name, entry in evaluate(generated, labels, num_resamples=30).items():
        low, high = np.percentile(shares[name], [2.5, 97.5])
        assert (entry["low"], entry["high"]) == pytest.approx((low, high), rel=1e-12)
        assert entry["low"] < entry["value"] < entry["high"]


def test_intervals_are_narrower_with_more_rows_and_the_same_for_the_same_seed():
    few, many = evaluate(*draw(50)), evaluate(*draw(5000))
    for name in GENERATED_LABEL_METRICS:
        assert many[name]["high"] - many[name]["low"] < 0.3 * (few[name]["high"] - few[name]["low"])
        assert evaluate(*draw(50), metrics=[name]) == {name: few[name]}


def test_classes_that_occur_nowhere_are_left_out_and_said():
    entry = evaluate([0, 1, -1], [0, 1, 1], num_classes=4, metrics=["generated_f1_macro"])["generated_f1_macro"]
    assert entry["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert "2 of 4 classes occur neither as label nor as output" in entry["note"]


def test_no_rows_are_a_reason():
    entries = evaluate([], [])
    assert list(entries) == list(GENERATED_LABEL_METRICS)
    assert all(entry["value"] is None and entry["reason"] == "there are no rows" for entry in entries.values())


def test_arguments_that_do_not_fit_are_bugs_of_the_caller():
    with pytest.raises(ValueError, match="no such metrics: accuracy"):
        evaluate([0], [0], metrics=["accuracy"])
    with pytest.raises(ValueError, match="do not fit"):
        evaluate([0, 1], [0])
    for generated, label in ((-2, 0), (3, 0), (0, 3), (0, -1)):
        with pytest.raises(ValueError, match="outside of the 3 classes"):
            evaluate([generated], [label])
