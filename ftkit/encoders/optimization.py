"""The arithmetic of fitting a head: schedule, class weights, loss, clipping and AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim.adamw import adamw

from ftkit.errors import UserError
from ftkit.recipe.trainer.schedules import arguments_in_steps
from ftkit.recipe.training_section import TrainingSpec


def count_steps(spec: TrainingSpec, *, num_rows: int) -> int:
    """Optimizer steps of a fit that is not stopped early."""
    return spec.max_steps or max(
        1, math.ceil(math.ceil(num_rows / spec.per_device_train_batch_size) * spec.num_train_epochs)
    )


def learning_rate_factors(spec: TrainingSpec, *, num_steps: int, warmup_steps: int) -> Callable[[int], float]:
    """Share of the peak learning rate at a step, 0-based.

    The commonest schedules are computed here; the others are transformers' own, whose import takes seconds.

    Args:
        spec: names the schedule and what it is told.
        num_steps: length of the run.
        warmup_steps: of these.

    Raises:
        UserError: the schedule is longer than the run.
    """
    name, given = spec.lr_scheduler_type, spec.lr_scheduler_kwargs
    if name in ("linear", "cosine", "constant", "constant_with_warmup") and not given:
        return partial(learning_rate_factor, num_steps=num_steps, warmup_steps=warmup_steps, schedule=name)
    try:
        found = arguments_in_steps(name, given, num_steps=num_steps, warmup_steps=warmup_steps)
    except ValueError as error:
        raise UserError(str(error), fix="write a share of the steps, below 1, or train longer") from error
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=spec.learning_rate)
    schedule: Any = get_scheduler(name, optimizer, warmup_steps, num_steps, found)
    factor: Callable[[int], float] = schedule.lr_lambdas[0]
    return factor


def learning_rate_factor(step: int, *, num_steps: int, warmup_steps: int, schedule: str) -> float:
    """Share of the peak learning rate at a step, as transformers' schedules of the same names.

    Args:
        step: 0-based.
        num_steps: length of the run.
        warmup_steps: steps of linear warm-up.
        schedule: linear, cosine, constant or constant_with_warmup.

    Example:
        >>> [learning_rate_factor(step, num_steps=4, warmup_steps=2, schedule="linear") for step in range(4)]
        [0.0, 0.5, 1.0, 0.5]
    """
    if step < warmup_steps and schedule != "constant":
        return step / max(1, warmup_steps)
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if schedule == "linear":
        return max(0.0, 1.0 - progress)
    if schedule == "cosine":
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
    return 1.0


def class_weight_vector(
    weights: str | Mapping[str, float], *, label_names: tuple[str, ...], counts: npt.NDArray[Any]
) -> torch.Tensor | None:
    """Weight of each class in the loss, (K,), or None when all weigh the same.

    Args:
        weights: `training.class_weights`.
        label_names: K names.
        counts: training rows of each class, (K,), each as often as it is learnt.

    Raises:
        UserError: a weight is named for a label that does not exist, or one is missing.

    Source:
        `balanced` is n / (K * n_class), as in scikit-learn's compute_class_weight (King and Zeng 2001).
    """
    if weights == "none":
        return None
    if isinstance(weights, str):
        return torch.from_numpy(counts.sum() / (len(counts) * np.maximum(counts, 1))).float()
    if set(weights) != set(label_names):
        raise UserError(
            f"training.class_weights names {', '.join(sorted(weights))}; the labels are {', '.join(label_names)}",
            fix="give one weight for each label",
        )
    return torch.tensor([weights[name] for name in label_names])


def losses_of_candidates(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: torch.Tensor | None,
    label_smoothing: float,
    learns: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean cross-entropy in nats of each candidate: logits (P, B, K), labels (B,) -> (P,).

    With class weights it is the weighted mean, as torch.nn.CrossEntropyLoss has it. `learns` (P, B) says which rows
    count for which candidate; one for which none does has a loss of 0.
    """
    num_candidates, num_rows, num_labels = logits.shape
    losses = nn.functional.cross_entropy(
        logits.reshape(-1, num_labels),
        labels.repeat(num_candidates),
        weight=class_weights,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    losses = losses.view(num_candidates, num_rows)
    if learns is None:
        return losses.sum(dim=1) / (num_rows if class_weights is None else class_weights[labels].sum())
    total = learns.float() @ (losses.new_ones(num_rows) if class_weights is None else class_weights[labels])
    return (losses * learns).sum(dim=1) / total.clamp(min=torch.finfo(total.dtype).tiny)


class AdamW:
    """torch's own AdamW arithmetic with the state kept here.

    Making a torch.optim.Optimizer imports torch's compiler, which takes longer than fitting a head does.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.averages = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.square_averages = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    def zero_gradients(self) -> None:
        """Forget the gradients of the last step."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter with its gradient."""
        gradients = [parameter.grad for parameter in self.parameters]
        assert all(gradient is not None for gradient in gradients), "every trained weight of a head gets a gradient"
        adamw(
            list(self.parameters),
            gradients,  # type: ignore[arg-type]
            self.averages,
            self.square_averages,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def clip_candidates(parameters: Sequence[nn.Parameter], *, num_candidates: int, max_norm: float) -> torch.Tensor:
    """Scale each candidate's gradient down to a norm; candidates must not feel one another.

    Args:
        parameters: with gradients; of P candidates when their first dimension is P, else of the only one.
        num_candidates: P.
        max_norm: 0 leaves the gradients as they are.

    Returns:
        The norms before, (P,).
    """
    gradients = [parameter.grad.view(num_candidates, -1) for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.square().sum(dim=1) for gradient in gradients]).sum(dim=0).sqrt()
    if max_norm > 0:
        factors = (max_norm / (norms + 1e-6)).clamp(max=1.0).unsqueeze(1)
        for gradient in gradients:
            gradient.mul_(factors)
    return norms
