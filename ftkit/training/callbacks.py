"""What happens beside HF Trainer's steps: history, progress, and a stop before anything not finite is learnt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy

from ftkit.errors import RunError, UserError
from ftkit.methods.start import WATCHED
from ftkit.metrics.names import CLASSIFICATION_METRICS, TEXT_METRICS
from ftkit.runs.run import Run

HISTORY_NAMES = {
    "loss": "train_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
    "eval_nll": "validation_loss",
    "eval_weighted_loss": "validation_weighted_loss",
    # where nothing is held out an evaluation is of the train probe alone
    "eval_train_probe_loss": "train_probe_loss",
    "eval_train_probe_accuracy": "train_probe_accuracy",
    **{f"eval_{name}": f"validation_{name}" for name in (*CLASSIFICATION_METRICS, "token_accuracy", *TEXT_METRICS)},
}
"""Trainer's names of what goes into history.jsonl -> ours."""


NOT_FINITE_FIX = (
    "lower training.learning_rate, lengthen training.warmup_steps, or compute in float32 (training.bf16: false and "
    "model.dtype: float32)"
)
MOVED_AFTER = 2
"""Steps after which every adapter must have moved."""


@dataclass(eq=False)
class HistoryCallback(TrainerCallback):
    """Writes what Trainer logs into the run's history.jsonl.

    Args:
        run: whose history it is.
        beside: what stands in the line of an evaluation besides its scores.
    """

    run: Run
    beside: Callable[[], Mapping[str, float | None]]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_kwargs: Any,
    ) -> None:
        """One line of history for each line of the log that says something about the model."""
        values = {HISTORY_NAMES[name]: value for name, value in (logs or {}).items() if name in HISTORY_NAMES}
        if values and state.is_world_process_zero:
            finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
            if "validation_loss" in finite:
                finite = {**self.beside(), **finite}
            self.run.append_history({"step": state.global_step, "epoch": round(state.epoch or 0.0, 4), **finite})


@dataclass(eq=False)
class ProgressCallback(TrainerCallback):
    """Tells the reporter of every step."""

    advance: Callable[[int], None]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        """One more step is done."""
        self.advance(1)


@dataclass(eq=False)
class EvaluationsTold(TrainerCallback):
    """Says what each evaluation of the validation set found.

    Args:
        say: hears of it.
        smoothed: whether labels are smoothed in the loss that is trained, unlike in the one that is measured.
        learnt: whether the validation rows are learnt too, in a training once more.
    """

    say: Callable[[str], None]
    smoothed: bool
    learnt: bool = False

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **_kwargs: Any,
    ) -> None:
        """One line: the loss, the score that chooses the best model, and what was learnt last."""
        assert metrics is not None, "Trainer hands them on"
        learnt = [line["loss"] for line in state.log_history if "loss" in line]
        chosen = str(args.metric_for_best_model)
        best = chosen.removeprefix("eval_")
        if "eval_nll" in metrics:
            loss = f"validation loss {metrics['eval_nll']:.4f}{' (rows that are learnt now)' if self.learnt else ''}"
        else:
            # nothing is held out; the probe says None of what is not finite
            probed = metrics["eval_train_probe_loss"]
            loss = f"train probe loss {math.nan if probed is None else probed:.4f}"
        self.say(
            f"step {state.global_step:,}: {loss}"
            + (f", {best} {metrics[chosen]:.4f}" if best != "nll" and chosen in metrics else "")
            + (f", training loss {learnt[-1]:.4f}{' with smoothed labels' if self.smoothed else ''}" if learnt else "")
        )


@dataclass(eq=False)
class Schedule(TrainerCallback):
    """Asks for checkpoints apart from evaluations, and for the one evaluation that is always made: after the last step.

    A checkpoint stays due until there is one.

    Args:
        strategy, steps, minutes: as training.save_strategy, save_steps and save_minutes.
        clock: seconds that have gone.
    """

    strategy: str
    steps: int | None = None
    minutes: float | None = None
    clock: Callable[[], float] = time.monotonic
    due: bool = False
    saved_at: float = math.inf

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        """The time until the first checkpoint begins."""
        self.due, self.saved_at = False, self.clock()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        """Whether steps or minutes are over."""
        is_last = state.global_step >= state.max_steps
        if self.strategy == "steps":
            self.due |= is_last or state.global_step % (self.steps or 1) == 0
        elif self.strategy == "minutes":
            self.due |= is_last or self.clock() - self.saved_at >= 60 * (self.minutes or 0)
        if is_last and args.eval_strategy == IntervalStrategy.NO:
            control.should_evaluate = True
        control.should_save |= self.due

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        """Whether an epoch is over, or the training has been ended early."""
        ended = control.should_training_stop and self.strategy in ("steps", "minutes")
        self.due |= self.strategy == "epoch" or ended
        control.should_save |= self.due

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any) -> None:
        """There is a checkpoint, whoever asked for it."""
        self.due, self.saved_at = False, self.clock()


def steps_an_epoch(batches: Sized, args: TrainingArguments) -> int:
    """Optimizer steps of an epoch of so many batches."""
    return -(-len(batches) // args.gradient_accumulation_steps)


@dataclass(eq=False)
class EndsAfter(TrainerCallback):
    """Ends a training after so many epochs, scored and sealed, though the schedule of its rates would go on."""

    epochs: float
    steps: int = 0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **_kwargs: Any,
    ) -> None:
        """Which step that is."""
        self.steps = min(state.max_steps, max(1, round(self.epochs * steps_an_epoch(train_dataloader, args))))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        """Whether that step is done."""
        if state.global_step >= self.steps:
            control.should_training_stop = control.should_evaluate = control.should_save = True


class StopOnNonFinite(TrainerCallback):
    """Ends the run before an update by a gradient that is not finite, so that no bad weight is ever written."""

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **_kwargs: Any,
    ) -> None:
        """Look at every gradient; under fp16 the loss scaler deals with overflows itself.

        Raises:
            RunError: a gradient is NaN or infinite.
        """
        assert model is not None
        if args.fp16:
            return
        found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        # one norm over everything says whether to look closer: a sum is finite only if all its parts are
        if not found or bool(torch.isfinite(torch.stack(torch._foreach_norm(list(found.values()))).sum())):
            return
        for name, gradient in found.items():
            if not bool(torch.isfinite(gradient).all()):
                raise RunError(
                    f"the gradient of {name} is not finite at step {state.global_step + 1}; "
                    "nothing was updated with it",
                    fix=NOT_FINITE_FIX,
                )


def refuse_bad_loss(loss: torch.Tensor, *, step: int, rows: str) -> None:
    """Stop before the backward pass when a loss is NaN or infinite.

    Args:
        loss: a scalar.
        step: number of the step it belongs to, from 1.
        rows: what was in the batch, in words.

    Raises:
        RunError: it is not finite.
    """
    if not bool(torch.isfinite(loss)):
        raise RunError(
            f"the loss is {float(loss):g} at step {step} ({rows}); nothing was updated with it", fix=NOT_FINITE_FIX
        )


@dataclass(eq=False)
class AdaptersMove(TrainerCallback):
    """Ends a run whose adapters stay at their start: it would train for hours and change nothing.

    Args:
        unmoved: model -> names of trained tensors that are exactly as they were before the first step.
        named: whether a recipe names the layers; else some may take no part in the loss (cross-attention of a decoder
            without an encoder, an expert that no token was sent to), which is said.
        say: hears of them.
    """

    unmoved: Callable[[Any], list[str]]
    named: bool
    say: Callable[[str], None]
    steps: int = 0

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **_kwargs: Any,
    ) -> None:
        """Look once, after the second step: the first may have had a learning rate of 0 (warm-up).

        Raises:
            UserError: naming the adapters that did not move.
        """
        assert model is not None
        self.steps += 1
        if self.steps != MOVED_AFTER or not (still := self.unmoved(model)):
            return
        shown = ", ".join(still[:3]) + (f" and {len(still) - 3} more" if len(still) > 3 else "")
        count = sum(any(part in name for part in WATCHED) for name, _ in model.named_parameters())
        if not self.named and len(still) < count:
            self.say(f"no gradient has reached {len(still)} of {count} adapters yet: {shown}")
            return
        raise UserError(
            f"after {MOVED_AFTER} steps {len(still)} adapters are exactly where they began: {shown}",
            fix="no gradient reaches them: leave these layers out of method.target_modules or layers_to_transform",
        )
