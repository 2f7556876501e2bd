"""A run is not called done where the model that was read back is not the one that was trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import TrainerState

from ftkit.errors import RunError
from ftkit.metrics.scores import Scores
from ftkit.training.fitting import fit_facts
from ftkit.training.outcome import refuse_other_model
from ftkit.training.way import Kept


def kept(loss: float) -> Kept:
    """What a model gives four validation targets."""
    validation = Scores(np.array([4 * loss]), np.array([4]), np.array([0]))
    return Kept({"validation": validation}, {})


@pytest.mark.parametrize(("loss", "rounds"), [(6.57, False), (7.2, True), (float("nan"), True)])
def test_another_loss_than_that_of_the_trained_weights_is_an_error(loss, rounds):
    with pytest.raises(RunError, match="not what was trained"):
        refuse_other_model(kept(loss), {"validation_loss": 6.5}, rounds=rounds)


@pytest.mark.parametrize(("trained", "loss", "rounds"), [(6.5, 6.501, False), (6.5, 6.6, True), (None, 9.0, False)])
def test_rounding_is_no_other_model_nor_is_what_was_never_scored(trained, loss, rounds):
    refuse_other_model(kept(loss), {"validation_loss": trained}, rounds=rounds)


@pytest.mark.parametrize(("keeps_best", "loss"), [(True, 1.5), (False, 1.75)])
def test_the_loss_that_is_compared_is_that_of_the_kept_step(keeps_best, loss):
    history = [{"step": 1, "eval_nll": 2.0}, {"step": 2, "eval_nll": 1.5}, {"step": 3, "eval_nll": 1.75}]
    state = TrainerState(global_step=3, max_steps=3, best_global_step=2, log_history=[*history, {"step": 3}])
    args = SimpleNamespace(
        load_best_model_at_end=keeps_best, get_warmup_steps=lambda _num_steps: 0, gradient_accumulation_steps=1
    )
    trainer: Any = SimpleNamespace(state=state, args=args, watched=None, get_train_dataloader=lambda: range(3))
    assert fit_facts(trainer)["validation_loss"] == loss


def test_the_model_that_is_read_back_has_the_loss_of_the_trained_one(classifier_runs, lm_runs):
    for runs in (classifier_runs, lm_runs):
        result = runs(method__type="lora", training__max_steps=2)
        validation = result.scores["validation"]
        assert result.facts["fit"]["validation_loss"] == pytest.approx(validation.loss, rel=0.01)
