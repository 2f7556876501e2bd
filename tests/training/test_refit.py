"""training.refit: the model that is kept has learnt from all rows; what is said of validation was measured before."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.errors import UserError
from ftkit.runs.run import Run
from ftkit.training import probes
from tests.fixtures.tiers import slow

Trained = Callable[..., Any]
TRAINING = {"training__max_steps": 6, "training__eval_strategy": "steps", "training__eval_steps": 2}
REFIT = {**TRAINING, "training__refit": "true"}
OF = {
    "causal_lm": ("lm_runs", "lm_recipe", {"method__type": "lora", "method__lora_dropout": 0.1}),
    "seq2seq": ("runs_of_pairs", "pair_recipe", {"training__load_best_model_at_end": "true"}),
    "classification": ("classifier_runs", "classifier_recipe", {"method__type": "full"}),
}
BATCH = {"causal_lm": 8, "seq2seq": 16, "classification": 16}
TASKS = ["causal_lm", slow("seq2seq"), slow("classification")]


@pytest.fixture
def run_of(request: pytest.FixtureRequest, tmp_path: Path) -> Trained:
    """A run of a task: one that is only looked at, or under a name in the folder of the test."""

    def run(task: str, name: str = "", **settings: Any) -> Any:
        looked_at, recipe, own = OF[task]
        if not name:
            return request.getfixturevalue(looked_at)(**own, **settings)
        return request.getfixturevalue(recipe)(tmp_path, name, **own, **settings)

    return run


def weights(folder: Path) -> bytes:
    return next(folder.glob("*model.safetensors")).read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_what_is_judged_is_the_training_without_a_refit_and_what_is_kept_saw_each_row_as_often(
    task: str, run_of: Trained
) -> None:
    plain, refitted = run_of(task, **TRAINING), run_of(task, **REFIT)
    run = refitted.run
    assert weights(run.first_model_dir) == weights(plain.run.model_dir)
    assert run.history_file.read_text() == plain.run.history_file.read_text()
    data = run.manifest()["data"]
    rows, every = data["train"]["rows"], data["train"]["rows"] + data["validation"]["rows"]
    epochs = refitted.facts["fit"]["best_step"] / math.ceil(rows / BATCH[task])
    assert refitted.facts["refit"] == {"rows": every, "num_steps": round(epochs * math.ceil(every / BATCH[task]))}
    assert weights(run.model_dir) != weights(run.first_model_dir)
    values = [
        {name: one["value"] for name, one in result.metrics["validation"].items()} for result in (plain, refitted)
    ]
    assert values[0] == values[1]
    assert all("before the refit" in one["note"] for one in refitted.metrics["validation"].values())
    assert "Validation was scored before the refit" in (run.model_dir / "README.md").read_text()


@pytest.mark.parametrize("phase", ["second", slow("first"), slow("between")])
@pytest.mark.parametrize("task", TASKS)
def test_a_run_that_was_killed_in_either_training_ends_in_the_same_bytes(
    task: str, phase: str, run_of: Trained, tmp_path: Path
) -> None:
    finished = run_of(task, **REFIT).run
    run = Run(shutil.copytree(finished.path, tmp_path / "again"))
    whole, history = weights(run.model_dir), run.refit.history_file.read_text()
    shutil.rmtree(run.model_dir)
    broken = run.refit if phase == "second" else run
    if phase != "between":
        last = max(broken.checkpoints_dir.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
        (last / "optimizer.pt").write_bytes(b"cut short")
    if phase != "second":
        shutil.rmtree(run.refit.path)
    if phase == "first":
        shutil.rmtree(run.first_model_dir)
    run.update_manifest(state="failed")
    resumed = run_of(task, "again", resume=True, **REFIT).run
    assert weights(resumed.model_dir) == whole
    assert resumed.refit.history_file.read_text() == history
    assert resumed.history_file.read_text() == finished.history_file.read_text()
    assert resumed.metrics() == finished.metrics()


def test_a_run_that_scored_some_rows_is_judged_by_all_and_goes_on_with_its_refit(
    lm_recipe: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "WHOLE_VALIDATION", 4)
    monkeypatch.setattr(probes, "PROBE_ROWS", 4)
    settings = {**REFIT, "training__eval_margin_of_error": 100}
    run = lm_recipe(tmp_path, "watched", **settings).run
    whole, scores = weights(run.model_dir), run.metrics()
    assert run.manifest()["training"]["fit"]["validation_rows_watched"] == 4
    assert scores["validation"]["loss"]["n"] == run.manifest()["data"]["validation"]["rows"] == 12
    for folder in (run.model_dir, run.refit.path):
        shutil.rmtree(folder)
    run.update_manifest(state="failed")
    again = lm_recipe(tmp_path, "watched", resume=True, **settings).run
    assert (weights(again.model_dir), again.metrics()) == (whole, scores)


def test_eval_judges_the_model_before_the_refit_by_the_rows_that_are_new_to_it(run_of: Trained) -> None:
    result = run_of("causal_lm", **REFIT)
    report = ftkit.evaluate(result, effort="quick")
    assert any("judged is the model before the refit" in note for note in report.notes)
    found = report.table["best"]["validation"]["loss"].value
    assert found == pytest.approx(result.metrics["validation"]["loss"]["value"], abs=1e-5)


def test_test_scores_are_those_of_the_model_that_is_kept(
    classifier_recipe: Trained, rows: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = {"data__test_file": rows[1], "data__validation_file": "null", "training__learning_rate": 1e-2}
    run = classifier_recipe(tmp_path, "tested", method__type="full", **settings, **REFIT).run
    said = [json.loads(line) for line in run.predictions_file("test").read_text().splitlines()]
    by_the_kept, by_the_first = (list(ftkit.predict(one, file=rows[1])) for one in (run.path, run.first_model_dir))
    assert [row["scores"] for row in by_the_kept] != [row["scores"] for row in by_the_first]
    for row, alone in zip(said, by_the_kept, strict=True):
        assert row["score"] == pytest.approx(alone["score"], abs=1e-4)
    (tmp_path / "own.py").write_text("def right(said, true):\n    return [float(a == b) for a, b in zip(said, true)]\n")
    report = ftkit.evaluate(run.path, effort="quick", own_metrics=[f"{tmp_path / 'own.py'}:right"])
    assert report.judged == "the one before the refit"
    assert "right" in report.table["best"]["validation"]
    assert "right" not in report.table["best"]["test"]
    assert any(note.startswith("of test, by the model that was refitted") for note in report.notes)


def test_a_document_whose_end_was_split_off_is_learnt_as_often_though_it_is_two_rows_then(
    lm_recipe: Trained, tmp_path: Path
) -> None:
    settings = {"data__max_length": 32, "training__num_train_epochs": 1, "training__refit": "true"}
    result = lm_recipe(tmp_path, "text", data="plain", **settings)
    fit = result.facts["fit"]
    assert fit["num_steps"] <= result.facts["refit"]["num_steps"] <= 1.5 * fit["num_steps"] + 1


def test_a_refit_is_refused_where_every_row_is_learnt_already(rows: tuple[Path, Path]) -> None:
    recipe = {"task": "classification", "model": {"name_or_path": "builtin:tiny-bert"}, "training": {"refit": True}}
    with pytest.raises(UserError, match=r"training.refit: a frozen head is fitted in folds"):
        ftkit.train(recipe | {"data": {"train_file": str(rows[0])}})


def test_a_refit_is_refused_where_validation_rows_would_have_no_weight(rows: tuple[Path, Path], tmp_path: Path) -> None:
    other = shutil.copy(rows[0], tmp_path / "other.csv")
    weighted = [{"file": str(rows[0]), "weight": 2}, {"file": str(other), "weight": 1}]
    recipe = {
        "task": "classification",
        "model": {"name_or_path": "builtin:tiny-bert"},
        "method": {"type": "lora"},
        "data": {"train_file": weighted, "validation_file": str(rows[1])},
        "training": {"refit": True, "output_dir": str(tmp_path / "run")},
    }
    with pytest.raises(UserError, match="those of validation have no weight among the sources"):
        ftkit.train(recipe)
    assert not (tmp_path / "run").exists()
