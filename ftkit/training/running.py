"""HF Trainer's loop, with progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.metrics.language import LanguageScores
from ftkit.progress import Reporter

if TYPE_CHECKING:
    from transformers import Trainer


def run_trainer(trainer: Trainer, *, reporter: Reporter, resume_from: Path | None) -> None:
    """Train to the end; the model that is kept is in `trainer.model` then."""
    from transformers import PrinterCallback

    from ftkit.training.callbacks import ProgressCallback

    trainer.remove_callback(PrinterCallback)
    steps = trainer.args.max_steps
    if steps <= 0:
        per_epoch = len(trainer.get_train_dataloader()) // trainer.args.gradient_accumulation_steps
        steps = max(1, int(max(1, per_epoch) * trainer.args.num_train_epochs))
    with reporter.track("finetuning", total=steps) as advance:
        trainer.add_callback(ProgressCallback(advance))
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)


def say_failure(final: LanguageScores, base: LanguageScores, *, fit: dict[str, Any], reporter: Reporter) -> None:
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
