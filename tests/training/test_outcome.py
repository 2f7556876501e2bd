"""A run is not called done where the model that was read back is not the one that was trained."""

from __future__ import annotations

import numpy as np
import pytest

from ftkit.errors import RunError
from ftkit.metrics.scores import Scores
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


def test_the_loss_that_is_compared_is_that_of_the_kept_step(classifier_runs, lm_runs):
    for runs in (classifier_runs, lm_runs):
        result = runs(method__type="lora", training__max_steps=2)
        validation = result.scores["validation"]
        assert result.facts["fit"]["validation_loss"] == pytest.approx(validation.loss, rel=0.05)
