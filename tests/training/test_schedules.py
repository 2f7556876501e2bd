"""Every schedule of transformers, its arguments, and the rates of a run that is gone on with."""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import SchedulerType, get_scheduler
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR

from ftkit.encoders.optimization import learning_rate_factors
from ftkit.errors import UserError
from ftkit.recipe.trainer.schedules import SCHEDULES, arguments_in_steps, wrong_arguments
from ftkit.recipe.training_section import TrainingSpec

STEPS, WARMUP, RATE = 12, 3, 1e-2
TOLD: dict[str, dict[str, Any]] = {
    "cosine_with_restarts": {"num_cycles": 2},
    "polynomial": {"power": 2.0, "lr_end": 1e-3},
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-3, "warmup_lr_rate": 0.2},
    "warmup_stable_decay": {"num_decay_steps": 0.25},
    "reduce_lr_on_plateau": {"patience": 0, "factor": 0.5},
    "greedy": {"patience": 0, "min_lr": 1e-4, "max_lr": 1e-1, "smooth": True, "window_size": 3},
}
CLASSES = {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": GreedyLR}


def test_the_schedules_are_those_of_transformers_with_its_arguments_and_defaults() -> None:
    assert set(SCHEDULES) == {one.value for one in SchedulerType}
    for name, schedule in SCHEDULES.items():
        function = CLASSES.get(name, TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(name)])
        theirs = inspect.signature(function).parameters
        ours = {key: field.default for key, field in schedule.model_fields.items() if not field.is_required()}
        assert ours == {key: theirs[key].default for key in ours}, name
        counted = {"optimizer", "last_epoch", "num_warmup_steps", "num_training_steps", "mode", "verbose"}
        assert set(theirs) - counted == set(schedule.model_fields), name


def scheduler(name: str, optimizer: torch.optim.Optimizer) -> Any:
    told = arguments_in_steps(name, TOLD.get(name, {}), num_steps=STEPS, warmup_steps=WARMUP)
    return get_scheduler(name, optimizer, WARMUP, STEPS, told)


def rates(name: str, *, stopped_at: int) -> list[float]:
    """The rates of a run that is stopped once and gone on with, as Trainer does it: both states through a file."""
    scores = [3.0, 2.0, 2.5, 2.4, 1.9, 1.8, 1.7, 2.6, 2.7, 2.8, 1.0, 1.1]

    def start() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
        return optimizer, scheduler(name, optimizer)

    found = []
    optimizer, schedule = start()
    for step in range(STEPS):
        if step == stopped_at:
            file = io.BytesIO()
            torch.save((optimizer.state_dict(), schedule.state_dict()), file)
            file.seek(0)
            optimizer, schedule = start()
            for one, state in zip((optimizer, schedule), torch.load(file, weights_only=True), strict=True):
                one.load_state_dict(state)
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*([scores[step]] if SCHEDULES[name].follows_scores else []))
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_that_is_gone_on_with_has_the_same_rates(name: str) -> None:
    straight = rates(name, stopped_at=-1)
    assert len(set(straight)) > 1 or name == "constant"
    for step in (1, WARMUP, 7, STEPS - 1):
        assert rates(name, stopped_at=step) == straight


@pytest.mark.parametrize("name", [name for name, one in SCHEDULES.items() if not one.follows_scores])
def test_a_head_learns_by_the_same_rates(name: str) -> None:
    spec = TrainingSpec(
        num_train_epochs=1,
        learning_rate=RATE,
        per_device_train_batch_size=1,
        lr_scheduler_type=name,  # type: ignore[arg-type]
        lr_scheduler_kwargs=TOLD.get(name, {}),
        warmup_steps=WARMUP,
        weight_decay=0.0,
        bf16=False,
    )
    factor = learning_rate_factors(spec, num_steps=STEPS, warmup_steps=WARMUP)
    assert [RATE * factor(step) for step in range(STEPS)] == pytest.approx(rates(name, stopped_at=-1), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        (
            "cosine_with_restarts",
            {"num_cycle": 2},
            "num_cycle is no argument of cosine_with_restarts",
        ),
        ("cosine_with_restarts", {"num_cycles": 1.5}, "num_cycles: must be a valid integer"),
        ("linear", {"power": 2}, "power is no argument of linear"),
        ("warmup_stable_decay", {}, "warmup_stable_decay needs num_decay_steps"),
        ("warmup_stable_decay", {"num_decay_steps": 2.5}, "no whole number of steps"),
        ("cosine_with_min_lr", {}, "needs min_lr or min_lr_rate"),
        ("cosine_with_min_lr", {"min_lr": 1e-3, "min_lr_rate": 0.1}, "needs min_lr or min_lr_rate, and one of them"),
        ("polynomial", {"lr_end": 0.1}, "lr_end 0.1 is not below the learning_rate, 0.01"),
        ("greedy", {"max_lr": 1.0}, "greedy needs min_lr"),
        ("greedy", {"min_lr": 1e-4, "max_lr": 1e-3}, "max_lr 0.001 is below the learning_rate"),
    ],
)
def test_arguments_that_a_schedule_does_not_take_or_lacks_are_told(
    name: str, given: dict[str, Any], problem: str
) -> None:
    assert problem in str([finding.message for finding in wrong_arguments(name, given, learning_rate=RATE)])


def test_a_schedule_that_is_longer_than_the_run_is_refused() -> None:
    spec = TrainingSpec(
        num_train_epochs=1,
        learning_rate=RATE,
        per_device_train_batch_size=1,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": 10},
        warmup_steps=WARMUP,
        weight_decay=0.0,
        bf16=False,
    )
    with pytest.raises(UserError, match="takes 13 steps, and the run has 12"):
        learning_rate_factors(spec, num_steps=STEPS, warmup_steps=WARMUP)
