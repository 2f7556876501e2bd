"""Checkpoints are sealed when the recipe says, with evaluations or apart from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.errors import UserError
from ftkit.runs.run import Run
from ftkit.training.callbacks import Schedule
from tests.faults.tiny_runs import write_tiny_runs
from tests.fixtures.tiers import slow

BASE = {
    "training.early_stopping_patience": None,
    "training.save_total_limit": 99,
    "training.num_train_epochs": 4,
    "evaluation.num_resamples": 100,
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saving")
    write_tiny_runs(folder)
    return folder


def trained(recipes: Path, name: str, **values: object) -> Run:
    values = {f"training.{key}": value for key, value in values.items()}
    run = recipes / "runs" / name
    ftkit.train(recipes / "causal_lm.yaml", **BASE, **{"training.output_dir": str(run)}, **values)
    return Run(run)


def history_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.history_file.read_text(encoding="utf-8").splitlines()]


def best_steps(run: Run) -> list[int]:
    """Steps at which the validation loss was lower than ever before."""
    found, lowest = [], float("inf")
    for line in history_of(run):
        if "validation_loss" in line and line["step"] and line["validation_loss"] < lowest:
            lowest = line["validation_loss"]
            found.append(line["step"])
    return found


@pytest.mark.parametrize(
    ("values", "sealed"),
    [
        ({}, {4, 8, 12}),
        ({"save_strategy": "steps", "save_steps": 5}, {5, 10, 12}),
        slow({"save_strategy": "epoch"}, {3, 6, 9, 12}),
        # every step is later than a millionth of a minute after the last
        ({"save_strategy": "minutes", "save_minutes": 1e-6}, set(range(1, 13))),
        slow({"save_strategy": "minutes", "save_minutes": 60}, {12}),
        slow({"save_strategy": "no"}, set()),
    ],
    ids=str,
)
def test_checkpoints_are_sealed_when_asked_and_where_the_best_was_found(
    recipes: Path, values: dict[str, object], sealed: set[int]
):
    run = trained(recipes, re.sub(r"\W+", "-", str(values)), **values)
    assert set(run.checkpoints().steps()) == sealed | set(best_steps(run))
    assert run.manifest()["training"]["fit"]["best_step"] == best_steps(run)[-1]


def test_a_run_without_evaluations_is_scored_before_its_first_and_after_its_last_step(recipes: Path):
    run = trained(
        recipes, "no-evaluations", eval_strategy="no", eval_steps=None, load_best_model_at_end=False,
        save_strategy="steps", save_steps=8,
    )  # fmt: skip
    assert [line["step"] for line in history_of(run) if "validation_loss" in line] == [0, 12]
    assert set(run.checkpoints().steps()) == {8, 12}


@pytest.mark.parametrize(
    ("values", "key", "fix"),
    [
        ({"save_strategy": "steps"}, "save_strategy", "add save_steps"),
        ({"save_strategy": "minutes"}, "save_strategy", "add save_minutes"),
        ({"save_steps": 3}, "save_steps", "add save_strategy: steps"),
        ({"save_minutes": 3}, "save_minutes", "add save_strategy: minutes"),
        ({"eval_strategy": "no", "eval_steps": None}, "eval_strategy", "load_best_model_at_end: false"),
        (
            {"eval_strategy": "no", "eval_steps": None, "load_best_model_at_end": False},
            "eval_strategy",
            "add save_strategy",
        ),
    ],
    ids=str,
)
def test_a_schedule_that_does_not_fit_is_refused_with_its_remedy(
    recipes: Path, values: dict[str, object], key: str, fix: str
):
    with pytest.raises(UserError, match=rf"training\.{key}(?s:.)*{re.escape(fix)}"):
        trained(recipes, "refused", **values)


def test_a_checkpoint_stays_due_until_there_is_one():
    now = [0.0]
    schedule = Schedule("minutes", minutes=1, clock=lambda: now[0])
    ends = {
        "args": type("Args", (), {"eval_strategy": "epoch"}),
        "state": type("State", (), {"global_step": 1, "max_steps": 9}),
    }

    def asked() -> bool:
        control = type("Control", (), {"should_save": False, "should_training_stop": False})()
        schedule.on_step_end(control=control, **ends)
        return control.should_save

    schedule.on_train_begin(control=None, **ends)
    for seconds, wanted in ((59, False), (61, True), (62, True)):
        now[0] = seconds
        assert asked() is wanted
    schedule.on_save(control=None, **ends)
    now[0] = 121
    assert not asked()
