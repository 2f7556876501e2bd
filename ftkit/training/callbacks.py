"""What happens beside HF Trainer's steps: history, progress, and a stop before anything not finite is learnt."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ftkit.errors import UserError
from ftkit.runs import Run

HISTORY_NAMES = {
    "loss": "train_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
    "eval_nll": "validation_loss",
    "eval_accuracy": "validation_accuracy",
    "eval_f1_macro": "validation_f1_macro",
}
"""Trainer's names of what goes into history.jsonl -> ours."""


class HistoryCallback(TrainerCallback):
    """Writes what Trainer logs into the run's history.jsonl."""

    def __init__(self, run: Run) -> None:
        self.run = run

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
            self.run.append_history({"step": state.global_step, "epoch": round(state.epoch or 0.0, 4), **finite})


class ProgressCallback(TrainerCallback):
    """Tells the reporter of every step."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        """One more step is done."""
        self.advance(1)


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
            UserError: a gradient is NaN or infinite.
        """
        assert model is not None
        if args.fp16:
            return
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                raise UserError(
                    f"the gradient of {name} is not finite at step {state.global_step + 1}; "
                    "nothing was updated with it",
                    fix="lower training.learning_rate, lengthen training.warmup_steps, or use float32 (model.dtype)",
                )
