"""data.validation_size: 0 trains on every row, keeps the last step, and says what can then not be told."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

import ftkit
from ftkit.commands.eval import curve_verdict
from ftkit.training.callbacks import EvaluationsTold
from ftkit.training.outcome import TrainResult
from ftkit.training.probes import read_probes


@pytest.fixture(scope="module")
def writes(lm_runs: Any) -> TrainResult:
    found: TrainResult = lm_runs(data__validation_size=0, training__max_steps=4)
    return found


@pytest.fixture(scope="module")
def classifies(classifier_runs: Any) -> TrainResult:
    found: TrainResult = classifier_runs(
        data__validation_file="null", data__validation_size=0, training__weight_decay=0.01, training__num_train_epochs=2
    )
    return found


def test_every_row_is_trained_on_and_nothing_else_is_measured(writes: TrainResult, classifies: TrainResult) -> None:
    for result, rows in ((writes, 48), (classifies, 96)):
        assert result.run.manifest()["data"].keys() == {"train"}
        assert result.run.manifest()["data"]["train"]["rows"] == rows
        assert result.metrics == {}
        assert not result.facts["fit"]["best_step"]


def test_the_train_probe_is_recorded_as_ever(writes: TrainResult, classifies: TrainResult) -> None:
    for result in (writes, classifies):
        lines = [json.loads(line) for line in result.run.history_file.read_text().splitlines()]
        assert all(not any(name.startswith("validation_") for name in line) for line in lines)
        probed = [line["train_probe_loss"] for line in lines if "train_probe_loss" in line]
        points = read_probes(result.run)
        assert probed == pytest.approx([point.train.loss for point in points])
        assert all(len(point.validation) == 0 for point in points)


@pytest.mark.parametrize(("loss", "said"), [(0.5, "train probe loss 0.5000"), (None, "train probe loss nan")])
def test_an_evaluation_tells_of_the_train_probe_though_its_loss_is_not_finite(loss: float | None, said: str) -> None:
    lines = list[str]()
    args: Any = SimpleNamespace(metric_for_best_model=None)
    told = EvaluationsTold(lines.append, smoothed=False)
    told.on_evaluate(args, TrainerState(global_step=3), TrainerControl(), {"eval_train_probe_loss": loss})
    assert lines == [f"step 3: {said}"]


def test_what_cannot_be_told_is_said(writes: TrainResult, classifies: TrainResult) -> None:
    for result in (writes, classifies):
        assert "Cannot tell whether it is underfit or overfit: nothing is held out" in curve_verdict(result.run)
        report = ftkit.evaluate(result, effort="quick")
        assert "cannot be told from the training rows" in report.verdict.sentence
        assert report.table["final"].keys() <= {"train", "reference"}
        assert report.table["final"]["train"]["loss"].value == pytest.approx(
            float(np.nansum(read_probes(result.run)[-1].train.nll))
            / int(read_probes(result.run)[-1].train.num_targets.sum()),
            rel=1e-3,
        )
        told = {check.name for check in report.verdict.checks if check.state in ("clear", "fired")}
        assert not told & {"overfit", "not_converged", "no_gain", "memorised"}
