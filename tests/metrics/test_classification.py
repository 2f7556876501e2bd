"""Every metric against scikit-learn, and what happens where one is undefined."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from ftkit.errors import UserError
from ftkit.metrics.classification import METRICS
from ftkit.metrics.names import CLASSIFICATION_METRICS

CASES = [(2, 50), (2, 400), (3, 60), (5, 300), (20, 100), (77, 400), (77, 3000)]


def reference_scores(labels, probabilities):
    """The same metrics by scikit-learn; the calibration error by a plain loop over bins."""
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    average = "binary" if num_classes == 2 else "macro"
    present = np.unique(labels)
    precise = [reference.average_precision_score(labels == index, probabilities[:, index]) for index in present]
    areas = [reference.roc_auc_score(labels == index, probabilities[:, index]) for index in present]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "loss": reference.log_loss(labels, probabilities, labels=np.arange(num_classes)),
            "accuracy": reference.accuracy_score(labels, predicted),
            "f1_macro": reference.f1_score(labels, predicted, average="macro"),
            "f1_micro": reference.f1_score(labels, predicted, average="micro"),
            "f1_weighted": reference.f1_score(labels, predicted, average="weighted"),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
            "cohen_kappa": reference.cohen_kappa_score(labels, predicted),
            "average_precision": precise[1] if num_classes == 2 else np.mean(precise),
            "f1": reference.f1_score(labels, predicted, average=average),
            "precision": reference.precision_score(labels, predicted, average=average),
            "recall": reference.recall_score(labels, predicted, average=average),
            "matthews": reference.matthews_corrcoef(labels, predicted),
            "roc_auc": areas[1] if num_classes == 2 else np.mean(areas),
            "ece": plain_calibration_error(labels, probabilities),
        }


def plain_calibration_error(labels, probabilities):
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    error = 0.0
    for lower in np.arange(15):
        inside = (confidence > lower / 15) & (confidence <= (lower + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


@pytest.mark.parametrize(("num_classes", "num_rows"), CASES)
@pytest.mark.parametrize("decimals", [None, 2], ids=["distinct scores", "many ties"])
def test_values_equal_scikit_learn(evaluate, random_predictions, num_classes, num_rows, decimals):
    labels, probabilities = random_predictions(num_classes, num_rows, decimals=decimals)
    ours = evaluate(labels, probabilities)
    for name, expected in reference_scores(labels, probabilities).items():
        assert ours[name]["value"] == pytest.approx(expected, abs=1e-12), name
    matrix = reference.confusion_matrix(labels, probabilities.argmax(axis=1), labels=np.arange(num_classes))
    assert ours["confusion"]["value"] == matrix.tolist()


@pytest.mark.parametrize("predict_absent", [False, True], ids=["never predicted", "still predicted"])
def test_values_equal_scikit_learn_when_labels_lack_classes(evaluate, random_predictions, predict_absent):
    labels, probabilities = random_predictions(6, 200)
    labels = np.where(labels >= 4, 1, labels)
    if not predict_absent:
        probabilities[:, 4:] *= 1e-6
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    ours = evaluate(labels, probabilities)
    for name, expected in reference_scores(labels, probabilities).items():
        assert ours[name]["value"] == pytest.approx(expected, abs=1e-12), name
    assert ours["roc_auc"]["left_out"] == ["class 4", "class 5"]
    assert ("note" in ours["f1_macro"]) != predict_absent


def test_probabilities_in_single_precision_are_scored_in_double(evaluate, random_predictions):
    labels, probabilities = random_predictions(4, 3000)
    single = probabilities.astype(np.float32)
    expected = reference_scores(labels, single.astype(np.float64))
    assert evaluate(labels, single)["loss"]["value"] == pytest.approx(expected["loss"], abs=1e-12)


def test_the_positive_label_decides_what_binary_metrics_are_about(evaluate, random_predictions):
    labels, probabilities = random_predictions(2, 100, sharpness=0.5)
    predicted = probabilities.argmax(axis=1)
    ours = evaluate(labels, probabilities, positive_label="ham", names=["ham", "spam"])
    assert ours["precision"]["value"] == pytest.approx(reference.precision_score(labels, predicted, pos_label=0))
    assert ours["recall"]["positive_label"] == "ham"
    assert evaluate(labels, probabilities, names=["ham", "spam"])["recall"]["positive_label"] == "spam"


def test_an_unknown_positive_label_is_the_users_error(evaluate):
    with pytest.raises(UserError, match="no such label: eggs") as error:
        evaluate([0, 1], [[0.5, 0.5], [0.5, 0.5]], positive_label="eggs", names=["ham", "spam"])
    assert "ham, spam" in str(error.value)


def test_more_than_two_classes_say_that_the_average_is_macro_and_the_positive_label_ignored(
    evaluate, random_predictions
):
    labels, probabilities = random_predictions(3, 60)
    entry = evaluate(labels, probabilities, positive_label="class 1")["f1"]
    assert entry["average"] == "macro"
    assert "ignored" in entry["note"]


def test_one_label_only_leaves_correlation_and_ranking_undefined_with_a_reason(evaluate):
    scores = evaluate([0, 0, 0], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    for name in ("matthews", "roc_auc", "average_precision"):
        assert scores[name] == {
            "value": None, "low": None, "high": None, "n": 3, "reason": "all rows have the same label",
        }  # fmt: skip
    assert scores["recall"]["value"] is None
    assert scores["recall"]["reason"] == "class 1 labels no row"
    assert scores["precision"]["value"] == 0.0
    assert scores["accuracy"]["value"] == pytest.approx(2 / 3)


def test_a_class_that_is_never_predicted_has_no_precision_and_matthews_is_zero(evaluate):
    scores = evaluate([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert scores["precision"]["reason"] == "class 1 is predicted for no row"
    assert scores["matthews"]["value"] == 0.0


@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_no_rows_give_null_and_a_reason_for_every_metric(evaluate, num_classes):
    scores = evaluate(np.zeros(0, dtype=int), np.zeros((0, num_classes)))
    assert set(scores) == set(METRICS)
    assert all(entry["value"] is None and entry["reason"] == "there are no rows" for entry in scores.values())


def test_probabilities_that_are_not_finite_give_null_and_say_how_many(evaluate):
    scores = evaluate([0, 1], [[np.nan, np.nan], [0.5, 0.5]])
    assert scores["accuracy"]["value"] is None
    assert "1 of 2 rows" in scores["loss"]["reason"]


def test_a_probability_of_zero_gives_a_finite_loss_and_a_note(evaluate):
    entry = evaluate([0, 1], [[0.0, 1.0], [0.0, 1.0]])["loss"]
    assert entry["value"] == pytest.approx(-np.log(np.finfo(float).eps) / 2)
    assert entry["note"].startswith("1 rows")


@pytest.mark.parametrize("num_classes", [1, 2, 3, 77])
@pytest.mark.parametrize("num_rows", [0, 1, 2, 3, 10])
def test_any_few_rows_give_json_without_nan(evaluate, random_predictions, num_classes, num_rows):
    for seed in range(20):
        labels, probabilities = random_predictions(num_classes, num_rows, seed=seed, decimals=1)
        json.dumps(evaluate(labels, probabilities), allow_nan=False)


def test_every_interval_holds_its_value(evaluate, random_predictions):
    labels, probabilities = random_predictions(4, 300)
    for name, entry in evaluate(labels, probabilities, num_resamples=500).items():
        if name != "confusion":
            assert entry["low"] <= entry["value"] <= entry["high"], name


def test_the_loss_comes_first_and_is_there_unasked(evaluate, random_predictions):
    labels, probabilities = random_predictions(2, 20)
    assert list(evaluate(labels, probabilities, metrics=["accuracy"])) == ["loss", "accuracy"]


def test_arrays_that_do_not_fit_are_a_bug_of_the_caller(evaluate):
    with pytest.raises(ValueError, match="do not fit 2 label names"):
        evaluate([0], [[0.2, 0.3, 0.5]], names=["a", "b"])
    with pytest.raises(ValueError, match="labels run from 0 to 2"):
        evaluate([0, 2], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ValueError, match="no such metrics: accurracy"):
        evaluate([0], [[0.5, 0.5]], metrics=["accurracy"])


def test_every_metric_that_a_recipe_may_name_is_in_the_table_and_the_loss_beside_them():
    assert set(METRICS) == {"loss", *CLASSIFICATION_METRICS}


def test_metrics_import_nothing_heavy():
    script = (
        "import sys, numpy as np, ftkit.metrics.classification as m\n"
        "m.evaluate_classification(np.array([0, 1]), np.eye(2), label_names=['a', 'b'], metrics=list(m.METRICS),"
        " positive_label=None, num_resamples=100, seed=0)\n"
        "print([name for name in ('sklearn', 'scipy', 'torch', 'evaluate', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
