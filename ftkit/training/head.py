"""Fits a classification head on stored features: a small deterministic loop over tensors, no Trainer."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ftkit.errors import UserError
from ftkit.recipe.schema import TrainingSpec

ROWS_IN_MEMORY_BYTES = 256 * 2**20
"""Stored features up to this size are read whole; larger ones block by block."""

SMALL_STEP = 50_000_000
"""Multiplications a step below which one thread is faster."""

BLOCK_ROWS = 32_768
"""Rows read together from features that do not fit."""


@dataclass(frozen=True)
class FeatureRows:
    """Features (N, D), possibly memory-mapped, and their labels (N,)."""

    vectors: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The rows in order, in blocks of (n, D) float32 and (n,)."""
        for start in range(0, len(self), BLOCK_ROWS):
            yield self._read(slice(start, start + BLOCK_ROWS))

    def batches(self, batch_size: int, generator: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The rows once, shuffled, in batches of (B, D) float32 and (B,).

        Features that fit in memory are shuffled as a whole; larger ones are read in shuffled blocks of consecutive
        rows and shuffled within a few blocks, so that the disk is read in long stretches.
        """
        if self.vectors.nbytes <= ROWS_IN_MEMORY_BYTES:
            order = torch.from_numpy(generator.permutation(len(self)))
            vectors, labels = self._whole()
            for rows in torch.split(order, batch_size):
                yield vectors[rows].float(), labels[rows]
            return
        starts = generator.permutation(np.arange(0, len(self), BLOCK_ROWS))
        for group in np.array_split(starts, math.ceil(len(starts) / 4)):
            read = [self._read(slice(int(start), int(start) + BLOCK_ROWS)) for start in group]
            vectors, labels = (torch.cat(parts) for parts in zip(*read, strict=True))
            for rows in torch.split(torch.from_numpy(generator.permutation(len(labels))), batch_size):
                yield vectors[rows], labels[rows]

    def _whole(self) -> tuple[torch.Tensor, torch.Tensor]:
        if not hasattr(self, "_cached"):
            # a frozen dataclass still lets us keep what was read once
            object.__setattr__(self, "_cached", self._read(slice(None)))
        cached: tuple[torch.Tensor, torch.Tensor] = self._cached  # type: ignore[attr-defined]
        return cached

    def _read(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(self.vectors, np.memmap):
            # a mapping of its own: its pages are given back when the block is done with
            vectors = np.array(np.load(str(self.vectors.filename), mmap_mode="r")[rows], dtype=np.float32)
        else:
            vectors = np.array(self.vectors[rows], dtype=np.float32)
        return torch.from_numpy(vectors), torch.from_numpy(self.labels[rows])


class FitResult(NamedTuple):
    """How a fit ended; the head holds the weights of `best_step` (or of the last one, as the recipe says)."""

    num_steps: int
    best_step: int
    best_score: float
    stopped_early: bool


def count_steps(spec: TrainingSpec, *, num_rows: int) -> int:
    """Optimizer steps of a fit that is not stopped early."""
    return spec.max_steps or max(
        1, math.ceil(math.ceil(num_rows / spec.per_device_train_batch_size) * spec.num_train_epochs)
    )


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
    weights: str | Mapping[str, float], *, label_names: tuple[str, ...], counts: npt.NDArray[np.int64]
) -> torch.Tensor | None:
    """Weight of each class in the loss, (K,), or None when all weigh the same.

    Args:
        weights: `training.class_weights`.
        label_names: K names.
        counts: training rows of each class, (K,).

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


def predict_logits(head: nn.Module, rows: FeatureRows, *, device: torch.device) -> torch.Tensor:
    """Logits (N, K) of every row, in float32 on the CPU, in eval mode."""
    head.eval()
    with torch.inference_mode():
        return torch.cat([head(vectors.to(device)).float().cpu() for vectors, _ in rows.blocks()])


def fit_head(
    head: nn.Module,
    train: FeatureRows,
    validation: FeatureRows,
    *,
    spec: TrainingSpec,
    class_weights: torch.Tensor | None,
    device: torch.device,
    record: Callable[[Mapping[str, Any]], None],
    advance: Callable[[int], None] = lambda _steps: None,
) -> FitResult:
    """Fit a head with AdamW; score the validation set as the recipe says; keep the best weights.

    Args:
        head: features (B, D) -> logits (B, K); only parameters with requires_grad are trained.
        train: training rows.
        validation: rows that decide which weights are best.
        spec: the recipe's training section.
        class_weights: (K,) or None.
        device: where head and batches live.
        record: called with one line of history after each evaluation.
        advance: called with the number of steps just done.

    Raises:
        UserError: the loss or a gradient is not finite.
    """
    with _threads_for(head, batch_size=spec.per_device_train_batch_size, device=device):
        return _fit(head, train, validation, spec, class_weights, device, record, advance)


def _fit(
    head: nn.Module,
    train: FeatureRows,
    validation: FeatureRows,
    spec: TrainingSpec,
    class_weights: torch.Tensor | None,
    device: torch.device,
    record: Callable[[Mapping[str, Any]], None],
    advance: Callable[[int], None],
) -> FitResult:
    plan = _Plan.of(spec, num_rows=len(train))
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay)
    weights = None if class_weights is None else class_weights.to(device)
    loss_function = nn.CrossEntropyLoss(weight=weights, label_smoothing=spec.label_smoothing_factor)
    torch.manual_seed(spec.seed)
    generator = np.random.default_rng(spec.seed)
    tracker = _BestTracker(spec)
    losses: list[torch.Tensor] = []
    step = 0
    while step < plan.num_steps and not tracker.exhausted:
        for vectors, labels in train.batches(spec.per_device_train_batch_size, generator):
            head.train()
            optimizer.param_groups[0]["lr"] = spec.learning_rate * plan.factor(step)
            loss = loss_function(head(vectors.to(device)), labels.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            _stop_if_not_finite(loss, parameters, step=step, max_norm=spec.max_grad_norm)
            optimizer.step()
            losses.append(loss.detach())
            step += 1
            advance(1)
            if step % plan.eval_every == 0 or step == plan.num_steps:
                scores = score(predict_logits(head, validation, device=device), validation.labels)
                improved = tracker.update(step, scores, head)
                record(_history_line(step, plan, losses, scores, improved=improved, lr=optimizer.param_groups[0]["lr"]))
                losses.clear()
            if step == plan.num_steps or tracker.exhausted:
                break
    tracker.restore(head, keep_last=not spec.load_best_model_at_end)
    head.eval()
    return FitResult(step, tracker.best_step, tracker.best_score, tracker.exhausted)


@contextlib.contextmanager
def _threads_for(head: nn.Module, *, batch_size: int, device: torch.device) -> Iterator[None]:
    """One thread while the matrices are small: handing them to a second core costs more than it saves."""
    trained = sum(parameter.numel() for parameter in head.parameters() if parameter.requires_grad)
    before = torch.get_num_threads()
    if device.type == "cpu" and trained * batch_size < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def score(logits: torch.Tensor, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Mean loss in nats, accuracy and macro F1 of logits (N, K) against labels (N,); for choosing checkpoints."""
    targets = torch.from_numpy(labels)
    predicted = logits.argmax(dim=1)
    loss = float(nn.functional.cross_entropy(logits, targets))
    num_labels = logits.shape[1]
    hits = torch.bincount(targets[predicted == targets], minlength=num_labels).double()
    support = torch.bincount(targets, minlength=num_labels) + torch.bincount(predicted, minlength=num_labels)
    seen = support > 0
    f1 = float((2 * hits[seen] / support[seen]).mean())
    return {"loss": loss, "accuracy": float((predicted == targets).double().mean()), "f1_macro": f1}


@dataclass(frozen=True)
class _Plan:
    num_steps: int
    steps_per_epoch: int
    warmup_steps: int
    eval_every: int
    schedule: str

    @classmethod
    def of(cls, spec: TrainingSpec, *, num_rows: int) -> _Plan:
        per_epoch = math.ceil(num_rows / spec.per_device_train_batch_size)
        num_steps = count_steps(spec, num_rows=num_rows)
        warmup = spec.warmup_steps
        warmup_steps = math.ceil(warmup * num_steps) if warmup < 1 else int(warmup)
        eval_every = (spec.eval_steps or per_epoch) if spec.eval_strategy == "steps" else per_epoch
        return cls(num_steps, per_epoch, warmup_steps, eval_every, spec.lr_scheduler_type)

    def factor(self, step: int) -> float:
        return learning_rate_factor(
            step, num_steps=self.num_steps, warmup_steps=self.warmup_steps, schedule=self.schedule
        )


class _BestTracker:
    def __init__(self, spec: TrainingSpec) -> None:
        self.metric = spec.metric_for_best_model
        self.patience = spec.early_stopping_patience
        self.best_score = math.inf if self.metric == "loss" else -math.inf
        self.best_step = 0
        self.weights: dict[str, torch.Tensor] = {}
        self.without_gain = 0

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.without_gain >= self.patience

    def update(self, step: int, scores: Mapping[str, float], head: nn.Module) -> bool:
        value = scores[self.metric]
        improved = value < self.best_score if self.metric == "loss" else value > self.best_score
        if improved:
            self.best_score, self.best_step, self.without_gain = value, step, 0
            self.weights = copy.deepcopy(_trained(head))
        else:
            self.without_gain += 1
        return improved

    def restore(self, head: nn.Module, *, keep_last: bool) -> None:
        if not keep_last and self.weights:
            head.load_state_dict(self.weights, strict=False)


def _trained(head: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in head.named_parameters() if parameter.requires_grad}


def _history_line(
    step: int, plan: _Plan, losses: list[torch.Tensor], scores: Mapping[str, float], *, improved: bool, lr: float
) -> dict[str, Any]:
    return {
        "step": step,
        "epoch": round(step / plan.steps_per_epoch, 4),
        "learning_rate": lr,
        "train_loss": float(torch.stack(losses).mean()),
        **{f"validation_{name}": value for name, value in scores.items()},
        "best": improved,
    }


def _stop_if_not_finite(loss: torch.Tensor, parameters: list[nn.Parameter], *, step: int, max_norm: float) -> None:
    norm = nn.utils.clip_grad_norm_(parameters, max_norm if max_norm > 0 else math.inf)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise UserError(
            f"the loss ({float(loss)}) or its gradient ({float(norm)}) is not finite at step {step + 1}; "
            "nothing was updated with it",
            fix="lower training.learning_rate, or look for broken features in the base model (model.dtype: float32)",
        )
