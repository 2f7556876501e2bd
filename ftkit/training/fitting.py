"""A training as it is begun, told of, and summed up: HF Trainer with the callbacks of every training."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from ftkit.methods.layer_rates import layer_rates
from ftkit.methods.start import unmoved_adapters
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.disk import refuse_little_space
from ftkit.runs.run import Run
from ftkit.training.arguments import training_arguments
from ftkit.training.callbacks import (
    AdaptersMove,
    EndsAfter,
    EvaluationsTold,
    HistoryCallback,
    ProgressCallback,
    Schedule,
    StopOnNonFinite,
    steps_an_epoch,
)
from ftkit.training.sealed_trainer import SealedTrainer
from ftkit.training.trainer import ExamplesTrainer, ScoresWhileTraining
from ftkit.training.validating.training_probe import TrainingProbe, finite
from ftkit.training.validating.watched import Watched
from ftkit.training.way import Data


def make_trainer(
    recipe: Recipe,
    run: Run,
    model: Any,
    data: Data[Any],
    scoring: ScoresWhileTraining,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    loss: Callable[..., torch.Tensor] | None = None,
    processor: Any = None,
    until: float | None = None,
    watched: Watched | None = None,
) -> ExamplesTrainer:
    """HF Trainer with the callbacks of every training.

    Args:
        recipe: what was asked.
        run: gets history, probes and checkpoints.
        model: as it was prepared.
        data: of the run.
        scoring: of the model, while it trains.
        callbacks: more of them.
        loss: (outputs, labels, num_items_in_batch) -> loss, where the model's own is not meant.
        processor: a tokenizer that is saved with every checkpoint.
        until: epochs after which it ends, whatever its schedule.
        watched: the validation rows that `scoring` scores, where they are not all of `data`.
    """
    training = recipe.training
    args = training_arguments(recipe, run)
    # several accelerators in one process would tear a row of documents apart; each wants a process of its own
    args._n_gpu = min(1, args.n_gpu)
    probe = TrainingProbe(
        run,
        probed=data.probed,
        validation=data.examples.get("validation"),
        watched=watched,
        seed=training.seed,
        score=scoring.probe,
    )
    schedule = Schedule(training.save_strategy, training.save_steps, training.save_minutes)
    watching: list[Any] = [HistoryCallback(run, probe.history), StopOnNonFinite(), schedule, *callbacks]
    if until is not None:
        watching.append(EndsAfter(until))
    if training.early_stopping_patience is not None:
        watching.append(EarlyStoppingCallback(early_stopping_patience=training.early_stopping_patience))
    rates = None
    if training.layer_lr_decay < 1:
        rates = layer_rates(model, decay=training.layer_lr_decay, learning_rate=training.learning_rate).factors
    return ExamplesTrainer(
        checkpoints=run.checkpoints(limit=training.save_total_limit),
        probe=probe,
        saves_with_evaluations=training.save_strategy == "evaluation",
        finds_batch_size=training.auto_find_batch_size,
        model=model,
        args=args,
        examples=data.examples["train"],
        scoring=scoring,
        max_tokens=training.token_budget(),
        mixing=data.mixing,
        rates=rates,
        watched=watched,
        compute_loss_func=loss,
        processing_class=processor,
        callbacks=watching,
        optimizers=(recipe.method.optimizer(model, args), None),
    )


def writers_callbacks(recipe: Recipe, *, until: float | None, reporter: Reporter) -> list[TrainerCallback]:
    """What looks on besides, where a model learns to write: each evaluation is told, and adapters have to move.

    Args:
        recipe: what was asked.
        until: as in `make_trainer`: of a training once more, which learns the validation rows too.
        reporter: hears of it.
    """
    method, smoothed = recipe.method, recipe.training.label_smoothing_factor > 0
    named = isinstance(getattr(method, "target_modules", None), list)
    moving = [AdaptersMove(unmoved_adapters, named, reporter.say)] if method.keeps_base else []
    return [EvaluationsTold(reporter.say, smoothed=smoothed, learnt=until is not None), *moving]


@contextlib.contextmanager
def progress_told(trainer: SealedTrainer, resumed: SealedCheckpoint | None, *, reporter: Reporter) -> Iterator[None]:
    """Refuse to begin what cannot be saved, and tell of every step.

    Raises:
        UserError: there is no room for the checkpoints.
    """
    trainer.remove_callback(PrinterCallback)
    refuse_little_space(trainer.model, trainer.checkpoints)
    done = 0 if resumed is None else resumed.progress.step
    steps = trainer.args.max_steps
    if steps <= 0:
        steps = math.ceil(steps_an_epoch(trainer.get_train_dataloader(), trainer.args) * trainer.args.num_train_epochs)
    if done >= steps:
        reporter.say("no step is left to train")
    with reporter.track("finetuning", total=max(0, steps - done)) as advance:
        trainer.add_callback(ProgressCallback(advance))
        yield


def fit_facts(trainer: ExamplesTrainer) -> dict[str, Any]:
    """What the manifest says of a training that is over; with the validation loss of the weights that are kept.

    Where not all validation rows were scored, it is of those in `watched`, by their numbers.
    """
    state = trainer.state
    kept = state.best_global_step if trainer.args.load_best_model_at_end else state.global_step
    losses = [line["eval_nll"] for line in state.log_history if line["step"] == kept and "eval_nll" in line]
    found = {
        "num_steps": state.global_step,
        "planned_steps": state.max_steps,
        "steps_an_epoch": steps_an_epoch(trainer.get_train_dataloader(), trainer.args),
        "warmup_steps": trainer.args.get_warmup_steps(max(1, state.max_steps)),
        "best_step": state.best_global_step,
        "best_score": state.best_metric,
        "validation_loss": finite(losses[-1]) if losses else None,
    }
    if trainer.watched is not None:
        found |= {"watched": trainer.watched.rows.tolist(), "validation_rows_watched": len(trainer.watched.rows)}
    return found
