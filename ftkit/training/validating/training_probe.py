"""The two probes while HF Trainer trains: scored in eval mode before the first step and beside every evaluation.

They are looked on from outside: nothing of them goes into Trainer's own log, into the choice of the best checkpoint or
into early stopping, and no random state is drawn from.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ftkit.inputs.examples import Examples
from ftkit.interruption import STOP
from ftkit.metrics.scores import NO_SCORES, CurvePoint, Scores
from ftkit.runs.run import Run
from ftkit.training.probes import ProbeLog, ProbeRows, read_probes, validation_probe_rows
from ftkit.training.sampling import undisturbed
from ftkit.training.validating.watched import Watched

TRAIN_PROBE = "train probe"
"""What the progress calls it."""


class TrainingProbe(TrainerCallback):
    """Scores and records the probes of one training; a callback, to hear of every learning rate.

    Args:
        run: gets the record.
        probed: examples of the training set, made as those of the validation set are.
        validation: the whole validation set; None where nothing is held out.
        watched: the part of it that is scored; None for all of it.
        seed: of the choice of what is kept of it.
        score: (model, left in whatever mode; examples; what they are called) -> what it gives each, in eval mode.
    """

    def __init__(
        self,
        run: Run,
        *,
        probed: Examples,
        validation: Examples | None,
        watched: Watched | None = None,
        seed: int,
        score: Callable[[Any, Examples, str], Scores],
    ) -> None:
        self.log = ProbeLog(run)
        held_out = 0 if validation is None else len(validation.scored_rows)
        self.rows = ProbeRows(probed.scored_rows, validation_probe_rows(held_out, seed=seed))
        self._kept = self.rows.validation
        if validation is not None and watched is not None:
            validation, self._kept = validation.take(watched.examples), np.searchsorted(watched.scored, self._kept)
        self.probed = probed
        self.validation = validation
        self.score_examples = score
        self.rate_mass = 0.0
        self._latest: Scores | None = None
        self._begun = False

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        lr_scheduler: Any = None,
        **_kwargs: Any,
    ) -> None:
        """Note which rows are scored, and add up the learning rates of the steps that a resumed run has done."""
        if not state.is_world_process_zero:
            return
        self.log.write_rows(self.rows)
        before = [point for point in read_probes(self.log.run) if point.step <= state.global_step]
        step, self.rate_mass = (before[-1].step, before[-1].rate_mass) if before else (0, 0.0)
        factors = getattr(lr_scheduler, "lr_lambdas", [])[:1]
        for done in range(step, state.global_step):
            if factors:
                self.rate_mass += lr_scheduler.base_lrs[0] * factors[0](done)
            elif lr_scheduler is not None:
                # a schedule that follows scores has kept its rate since the last of them
                self.rate_mass += float(lr_scheduler.optimizer.param_groups[0]["lr"])

    def on_optimizer_step(self, *_args: Any, optimizer: Any = None, **_kwargs: Any) -> None:
        """Add the learning rate of the step just made; one that float16's scaler skipped had none."""
        if not getattr(optimizer, "step_was_skipped", False):
            self.rate_mass += float(optimizer.param_groups[0]["lr"])

    def begin(self, trainer: Any) -> None:
        """Score both sets before the first step; once, however often the training begins again with it.

        Raises:
            Interrupted: the process was asked to stop.
        """
        if self._begun:
            return
        with _looking_on(trainer):
            self._latest = self.score_examples(trainer.model, self.probed, TRAIN_PROBE)
            validation = NO_SCORES
            if self.validation is not None:
                validation = self.score_examples(trainer.model, self.validation, "validation")
        self._begun = True
        self.record(trainer, validation)
        if trainer.is_world_process_zero():
            loss = {} if self.validation is None else {"validation_loss": finite(validation.loss)}
            self.log.run.append_history({"step": 0, "epoch": 0.0, **self.history(), **loss})

    def score(self, trainer: Any) -> None:
        """Score the train probe and keep what was found for `history` and `record`.

        Raises:
            Interrupted: the process was asked to stop.
        """
        with _looking_on(trainer):
            self._latest = self.score_examples(trainer.model, self.probed, TRAIN_PROBE)

    def history(self) -> dict[str, float | None]:
        """What a line of history says of the train probe, as it was last scored."""
        assert self._latest is not None, "the train probe is scored before the validation set"
        return {
            "train_probe_loss": finite(self._latest.loss),
            "train_probe_accuracy": finite(self._latest.accuracy),
        }

    def record(self, trainer: Any, validation: Scores) -> None:
        """Write the file of this evaluation.

        Args:
            trainer: at the step of it.
            validation: of every validation row that is scored.
        """
        if not trainer.is_world_process_zero():
            return
        assert self._latest is not None, "the train probe is scored before the validation set"
        state = trainer.state
        kept = validation.take(self._kept)
        self.log.write(CurvePoint(state.global_step, float(state.epoch or 0.0), self.rate_mass, self._latest, kept))


@contextlib.contextmanager
def _looking_on(trainer: Any) -> Iterator[None]:
    """Work that a signal may leave anywhere, in the precision of the training, without a trace in the random state."""
    with undisturbed(), STOP.at_once(), trainer.accelerator.autocast():
        yield


def finite(value: float) -> float | None:
    """A figure as JSON has it: None for what is not finite."""
    return value if math.isfinite(value) else None
