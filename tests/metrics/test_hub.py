"""The adapter to `evaluate`, with the real library and metrics that lie in a folder."""

import numpy as np
import pytest

from ftkit.errors import UserError
from ftkit.metrics.classification import evaluate_classification

MODULE = """
import datasets
import evaluate


class Local(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="",
            features=datasets.Features({FEATURES}),
        )

    def _compute(self, **inputs):
        {COMPUTE}
"""
LABELS = 'dict(predictions=datasets.Value("int64"), references=datasets.Value("int64"))'


@pytest.fixture(autouse=True)
def _a_place_without_network(tmp_path, monkeypatch):
    evaluate = pytest.importorskip("evaluate")
    # read at import, so the environment comes too late once another test has imported the library
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
    monkeypatch.setattr("evaluate.loading.head_hf_s3", lambda *args, **kwargs: None)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write_metric(folder, *, compute, features=LABELS):
    folder.mkdir(parents=True)
    text = MODULE.replace("{FEATURES}", features).replace("{COMPUTE}", compute)
    (folder / f"{folder.name}.py").write_text(text)
    return folder


def evaluate_one(metric):
    labels = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    scores = evaluate_classification(
        labels, probabilities, label_names=["a", "b"], metrics=[metric], positive_label=None, num_resamples=100, seed=0
    )
    return scores[metric]


def test_a_metric_of_the_working_directory_is_run_when_written_as_a_path(tmp_path):
    write_metric(
        tmp_path / "work" / "agreement",
        compute='return {"agreement": sum(p == r for p, r in zip(inputs["predictions"], inputs["references"])) / 4}',
    )
    assert evaluate_one("evaluate:./agreement") == {"value": 0.5, "n": 4}


def test_an_absolute_path_and_several_values_work(tmp_path):
    folder = write_metric(tmp_path / "two", compute='return {"first": 1, "second": float("nan")}')
    entry = evaluate_one(f"evaluate:{folder}")
    assert entry == {"value": 1.0, "n": 4, "values": {"first": 1.0, "second": None}}


def test_a_metric_of_scores_gets_the_probability_of_the_positive_class(tmp_path):
    features = 'dict(prediction_scores=datasets.Value("float64"), references=datasets.Value("int64"))'
    folder = write_metric(
        tmp_path / "sum_of_scores", features=features, compute='return {"sum": float(sum(inputs["prediction_scores"]))}'
    )
    assert evaluate_one(f"evaluate:{folder}")["value"] == pytest.approx(0.1 + 0.6 + 0.3 + 0.8)


@pytest.mark.parametrize("name", ["accuracy", "user/accuracy"])
def test_a_folder_that_would_stand_in_for_a_hub_metric_is_refused_and_not_run(tmp_path, name):
    write_metric(tmp_path / "work" / name, compute='open("was_run", "w").close()')
    with pytest.raises(UserError, match="instead of the hub's metric") as error:
        evaluate_one(f"evaluate:{name}")
    assert f"evaluate:./{name}" in str(error.value)
    assert not (tmp_path / "work" / "was_run").exists()


def test_an_absent_metric_says_so_and_what_to_do(monkeypatch):
    def no_network(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("evaluate.loading.cached_path", no_network)
    with pytest.raises(UserError, match="neither on this machine nor to be reached") as error:
        evaluate_one("evaluate:accuracy")
    assert "evaluate:./NAME" in str(error.value)


@pytest.mark.parametrize("name", ["./nowhere", "../nowhere", "/nowhere/at/all", "a/b/c", "a b"])
def test_names_that_lead_nowhere_are_the_users_error(name):
    with pytest.raises(UserError, match=r"no such metric|no name of a metric"):
        evaluate_one(f"evaluate:{name}")


def test_a_metric_that_fails_or_asks_for_what_there_is_not_is_named(tmp_path):
    failing = write_metric(tmp_path / "failing", compute='raise RuntimeError("boom")')
    with pytest.raises(UserError, match="failed: RuntimeError: boom"):
        evaluate_one(f"evaluate:{failing}")
    demanding = write_metric(tmp_path / "demanding", features='dict(sources=datasets.Value("string"))', compute="pass")
    with pytest.raises(UserError, match="asks for sources"):
        evaluate_one(f"evaluate:{demanding}")


def test_a_metric_whose_package_is_missing_says_which(tmp_path):
    folder = write_metric(tmp_path / "needy", compute="return {}")
    script = folder / "needy.py"
    script.write_text("import no_such_package_at_all\n" + script.read_text())
    with pytest.raises(UserError, match="no_such_package_at_all"):
        evaluate_one(f"evaluate:{folder}")


def test_a_broken_file_is_the_users_error_and_says_what_is_broken(tmp_path):
    folder = write_metric(tmp_path / "broken", compute="return (")
    with pytest.raises(UserError, match="cannot be loaded: SyntaxError"):
        evaluate_one(f"evaluate:{folder}")


def test_arguments_behind_the_name_are_the_metrics_and_one_of_its_results_may_be_taken(tmp_path):
    folder = tmp_path / "work" / "scaled"
    by_row = '[float(p == r) * inputs["scale"] for p, r in zip(inputs["predictions"], inputs["references"])]'
    write_metric(folder, compute=f'return {{"named": {{"x": inputs["word"]}}, "rows": {by_row}, "other": 7}}')
    entry = evaluate_one("evaluate:./scaled?scale=3&word=a b&config_name=mine")
    assert entry == {"value": 1.5, "n": 4, "values": {"named": {"x": "a b"}, "rows": 1.5, "other": 7.0}}
    assert evaluate_one("evaluate:./scaled?scale=3&word=1&take=other")["value"] == 7.0
    with pytest.raises(UserError, match="gives no f1") as caught:
        evaluate_one("evaluate:./scaled?scale=3&word=1&take=f1")
    assert caught.value.fix == "take is one of named, rows, other"


@pytest.mark.parametrize("said", ["scale", "scale=1&scale=2", "a-b=1", "predictions=1", "&"])
def test_what_is_no_argument_of_a_metric_is_refused(said):
    with pytest.raises(UserError, match="is no argument"):
        evaluate_one(f"evaluate:mine?{said}")


def test_a_package_that_a_metric_lacks_is_one_error_with_the_line_for_pip(tmp_path):
    folder = write_metric(tmp_path / "work" / "needy", compute="return {}")
    script = folder / "needy.py"
    script.write_text("import package_that_nobody_has as bert_score\n" + script.read_text())
    with pytest.raises(UserError, match="needs a package") as caught:
        evaluate_one("evaluate:./needy?lang=en")
    assert caught.value.fix == "pip install package_that_nobody_has"
