"""Fits a classification head on stored features: a small deterministic loop over tensors, no Trainer."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ftkit.encoders.heads import Head, LinearHead
from ftkit.encoders.held_out import HeldOut, NothingHeldOut, OutOfFold, ValidationRows
from ftkit.encoders.optimization import AdamW, clip_candidates, count_steps, learning_rate_factors, losses_of_candidates
from ftkit.encoders.rows import FeatureRows, Part, row_logits
from ftkit.encoders.scores import BestWeights, HeadProbe, score
from ftkit.errors import UserError
from ftkit.interruption import STOP
from ftkit.metrics.scores import NO_SCORES, CurvePoint, scores_of_logits
from ftkit.recipe.training_section import TrainingSpec

SMALL_STEP = 50_000_000
"""Multiplications a step below which one thread is faster."""


class FitResult(NamedTuple):
    """How a fit ended; the head holds the weights of `best_step` (or of the last one, as the recipe says)."""

    num_steps: int
    best_step: int
    best_score: float | None
    weight_decay: float
    stopped_early: bool


def fit_head(
    head: Head,
    train: FeatureRows,
    validation: FeatureRows | None,
    *,
    spec: TrainingSpec,
    class_weights: torch.Tensor | None,
    device: torch.device,
    record: Callable[[Mapping[str, Any]], None],
    probe: HeadProbe | None = None,
    advance: Callable[[int], None] = lambda _steps: None,
) -> FitResult:
    """Fit a head with AdamW; score what is held out as the recipe says; keep the best weights.

    Args:
        head: features (B, D) -> logits (P, B, K) of P candidates; afterwards the best one alone is left. Only
            parameters with requires_grad are trained.
        train: training rows.
        validation: rows that decide which weights are best. None: the training rows, which have folds, each as the
            candidates of the other folds see it; the head has `repeated` ones then, and one of all rows is left. No
            rows: the head has one candidate, and its last weights are left.
        spec: the recipe's training section.
        class_weights: (K,) or None.
        device: where head and batches live.
        record: called with one line of history after each evaluation.
        probe: is scored before the first step and at each evaluation; has no say in which weights are kept.
        advance: called with the number of steps just done.

    Raises:
        UserError: the loss or a gradient is not finite.
    """
    with _threads_for(head, batch_size=spec.per_device_train_batch_size, device=device):
        loss = _Loss(None if class_weights is None else class_weights.to(device), spec.label_smoothing_factor)
        held_out: HeldOut
        if validation is None:
            held_out = OutOfFold(train, num_candidates=head.num_candidates)
        else:
            held_out = ValidationRows(validation) if len(validation) else NothingHeldOut()
        fitting = _Fitting(head, spec, held_out, num_rows=len(train), loss=loss, device=device, probe=probe)
        if probe is not None:
            record(fitting.look_on())
        for part in fitting.batches(train):
            STOP.poll()
            fitting.step(part)
            advance(1)
            if fitting.evaluation_is_due:
                record(fitting.evaluate())
        return fitting.settle()


class _Loss(NamedTuple):
    """What the loss of a head counts besides its targets."""

    class_weights: torch.Tensor | None
    label_smoothing: float


class _Fitting:
    """One fit: the optimizer, the schedule and what has been seen so far."""

    def __init__(
        self,
        head: Head,
        spec: TrainingSpec,
        held_out: HeldOut,
        *,
        num_rows: int,
        loss: _Loss,
        device: torch.device,
        probe: HeadProbe | None,
    ) -> None:
        self.head = head
        self.spec = spec
        self.held_out = held_out
        self.device = device
        self.plan = _Plan.of(spec, num_rows=num_rows)
        self.loss = loss
        self.parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
        # a linear head carries its penalties in its loss
        self.decay = 0.0 if isinstance(head, LinearHead) or spec.weight_decay == "auto" else spec.weight_decay
        self.optimizer = AdamW(self.parameters, weight_decay=self.decay)
        self.tracker = BestWeights(spec, weighted=loss.class_weights is not None)
        self.losses: list[torch.Tensor] = []
        self.num_steps = 0
        self.rate_mass = 0.0
        self.probe = probe
        self.kept_logits: torch.Tensor | None = None
        torch.manual_seed(spec.seed)

    @property
    def learning_rate(self) -> float:
        return self.spec.learning_rate * self.plan.factor(self.num_steps)

    @property
    def is_done(self) -> bool:
        return self.num_steps >= self.plan.num_steps or self.tracker.exhausted

    @property
    def evaluation_is_due(self) -> bool:
        return self.num_steps % self.plan.eval_every == 0 or self.num_steps == self.plan.num_steps

    def batches(self, train: FeatureRows) -> Iterator[Part]:
        """Shuffled epochs until the fit is done."""
        generator = np.random.default_rng(self.spec.seed)
        for epoch in itertools.count():
            times = train.times(seed=self.spec.seed, epoch=epoch)
            for batch in train.batches(self.spec.per_device_train_batch_size, generator, times):
                if self.is_done:
                    return
                yield batch

    def step(self, part: Part) -> None:
        """Update the head with some rows."""
        self.head.train()
        losses = losses_of_candidates(
            row_logits(self.head, part, device=self.device),
            part.labels.to(self.device),
            class_weights=self.loss.class_weights,
            label_smoothing=self.loss.label_smoothing,
            learns=self.held_out.learns(part.folds.to(self.device)),
        )
        self.optimizer.zero_gradients()
        torch.autograd.backward(losses.sum() + self.head.penalty())
        norms = clip_candidates(self.parameters, num_candidates=len(losses), max_norm=self.spec.max_grad_norm)
        _stop_if_not_finite(losses, norms, step=self.num_steps)
        learning_rate = self.learning_rate
        self.optimizer.step(learning_rate)
        self.losses.append(losses.detach())
        self.rate_mass += learning_rate
        self.num_steps += 1

    def look_on(self) -> dict[str, Any]:
        """Score the untrained head; returns a line of history that nothing is chosen by."""
        logits = self.held_out.logits(self.head, device=self.device)
        scores = self._scores(logits)
        choice = self.tracker.choose(scores) if scores else 0
        return {
            "step": 0,
            "epoch": 0.0,
            **self._probe(choice, logits[choice]),
            **({"validation_loss": scores[choice]["loss"]} if scores else {}),
        }

    def evaluate(self) -> dict[str, Any]:
        """Score every choice; returns the line of history of the best one."""
        logits = self.held_out.logits(self.head, device=self.device)
        scores = self._scores(logits)
        choice, improved = self.tracker.update(self.num_steps, scores, self.head) if scores else (0, False)
        if improved or not self.spec.load_best_model_at_end:
            self.kept_logits = logits[choice]
        candidate = self.held_out.kept(choice)
        train_loss = float(torch.stack(self.losses)[:, candidate].mean())
        self.losses.clear()
        return {
            "step": self.num_steps,
            "epoch": round(self.num_steps / self.plan.steps_per_epoch, 4),
            "learning_rate": self.spec.learning_rate * self.plan.factor(self.num_steps - 1),
            "weight_decay": self._decay_of(candidate),
            "train_loss": train_loss,
            **self._probe(choice, logits[choice]),
            **({f"validation_{name}": value for name, value in scores[choice].items()} if scores else {}),
            "best": improved,
        }

    def _scores(self, logits: torch.Tensor) -> list[dict[str, float]]:
        """Of each choice; none where nothing is held out."""
        if not len(self.held_out.labels):
            return []
        how: dict[str, Any] = {"class_weights": self.loss.class_weights, "metric": self.spec.metric_for_best_model}
        return [score(one, self.held_out.labels, **how) for one in logits]

    def _probe(self, choice: int, logits: torch.Tensor) -> dict[str, float]:
        if self.probe is None:
            return {}
        epoch = self.num_steps / self.plan.steps_per_epoch
        labels = self.held_out.labels
        validation = scores_of_logits(logits.numpy(), labels) if len(labels) else NO_SCORES
        train = self.probe.score_train(self.head, self.held_out.kept(choice), device=self.device)
        self.probe.keep(CurvePoint(self.num_steps, epoch, self.rate_mass, train, validation))
        return {"train_probe_loss": train.loss, "train_probe_accuracy": train.accuracy}

    def settle(self) -> FitResult:
        """Leave the weights and the candidate to keep in the head."""
        if self.probe is not None:
            self.probe.score_test(self.head, self.held_out.kept(self.tracker.last_candidate), device=self.device)
            if self.kept_logits is not None and isinstance(self.held_out, OutOfFold):
                self.probe.keep_out_of_fold(self.kept_logits)
        choice = self.tracker.settle(self.head, keep_last=not self.spec.load_best_model_at_end)
        candidate = self.held_out.kept(choice)
        weight_decay = self._decay_of(candidate)
        self.head.keep(candidate)
        self.head.eval()
        tracker = self.tracker
        best_score = tracker.best_score if math.isfinite(tracker.best_score) else None
        return FitResult(self.num_steps, tracker.best_step, best_score, weight_decay, tracker.exhausted)

    def _decay_of(self, candidate: int) -> float:
        if isinstance(self.head, LinearHead):
            return round(float(self.head.penalties[candidate]), 9)
        return self.decay


@contextlib.contextmanager
def _threads_for(head: Head, *, batch_size: int, device: torch.device) -> Iterator[None]:
    """One thread while the matrices are small: handing them to a second core costs more than it saves."""
    trained = sum(parameter.numel() for parameter in head.parameters() if parameter.requires_grad)
    before = torch.get_num_threads()
    if device.type == "cpu" and trained * batch_size < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Plan:
    num_steps: int
    steps_per_epoch: int
    eval_every: int
    factor: Callable[[int], float]

    @classmethod
    def of(cls, spec: TrainingSpec, *, num_rows: int) -> _Plan:
        per_epoch = math.ceil(num_rows / spec.per_device_train_batch_size)
        num_steps = count_steps(spec, num_rows=num_rows)
        warmup = spec.warmup_steps
        warmup_steps = math.ceil(warmup * num_steps) if warmup < 1 else int(warmup)
        eval_every = (spec.eval_steps or per_epoch) if spec.eval_strategy == "steps" else per_epoch
        factor = learning_rate_factors(spec, num_steps=num_steps, warmup_steps=warmup_steps)
        return cls(num_steps, per_epoch, eval_every, factor)


def _stop_if_not_finite(losses: torch.Tensor, norms: torch.Tensor, *, step: int) -> None:
    if not bool(torch.isfinite(losses).all() and torch.isfinite(norms).all()):
        raise UserError(
            f"the loss ({float(losses.detach().sum())}) or its gradient ({float(norms.sum())}) is not finite "
            f"at step {step + 1}; nothing was updated with it",
            fix="lower training.learning_rate, or look for broken features in the base model (model.dtype: float32)",
        )
