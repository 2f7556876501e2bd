"""HF Trainer's loop, with progress."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.metrics.scores import Scores
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint

if TYPE_CHECKING:
    from ftkit.training.sealed_trainer import SealedTrainer


def run_trainer(trainer: SealedTrainer, *, reporter: Reporter, resumed: SealedCheckpoint | None) -> None:
    """Train to the end; the model that is kept is in `trainer.model` then.

    Args:
        trainer: as it was made; the first step has not been done.
        reporter: hears of every step.
        resumed: the checkpoint to go on from.

    Raises:
        UserError: there is no room for the checkpoints.
        RunError: the disk or the memory ran out.
        Interrupted: the process was asked to stop.
    """
    from transformers import PrinterCallback

    from ftkit.runs.disk import refuse_little_space
    from ftkit.training.callbacks import ProgressCallback

    trainer.remove_callback(PrinterCallback)
    refuse_little_space(trainer.model, trainer.checkpoints)
    done = 0 if resumed is None else resumed.progress.step
    steps = trainer.args.max_steps
    if steps <= 0:
        per_epoch = -(-len(trainer.get_train_dataloader()) // trainer.args.gradient_accumulation_steps)
        steps = math.ceil(per_epoch * trainer.args.num_train_epochs)
    if done >= steps:
        reporter.say("no step is left to train")
    with reporter.track("finetuning", total=max(0, steps - done)) as advance:
        trainer.add_callback(ProgressCallback(advance))
        trainer.go_on(resumed, say=reporter.say)


def say_failure(final: Scores, base: Scores, *, fit: dict[str, Any], reporter: Reporter) -> None:
    """A word where training did nothing or did harm, before the figures are shown.

    Args:
        final: losses of the model that was kept, on the validation set.
        base: those of the untrained one.
        fit: `num_steps` and `warmup_steps` of the training.
        reporter: hears of it.
    """
    if fit["num_steps"] <= fit["warmup_steps"]:
        reporter.say(f"warning: all {fit['num_steps']} steps were warm-up; nothing was learnt to speak of")
    elif not float(np.sum(final.nll)) < float(np.sum(base.nll)):
        reporter.say("warning: the validation loss is no better than the base's: lower training.learning_rate")
