"""What a head gives features while it is fitted: the figures that choose its weights, and the record of the probes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ftkit.encoders.heads import ALL, Head
from ftkit.encoders.rows import FeatureRows, row_logits
from ftkit.metrics.classification import evaluate_classification
from ftkit.metrics.scores import CurvePoint, Scores, scores_of_logits
from ftkit.recipe.training_section import TrainingSpec
from ftkit.runs.run import Run
from ftkit.training.probes import ProbeLog, ProbeRows

WEIGHTED_LOSS = "weighted_loss"
POINTS_HELD = 1_000
"""Evaluations in memory; each is a few ten kilobytes."""


def predict_logits(head: Head, rows: FeatureRows, *, device: torch.device, candidates: slice = ALL) -> torch.Tensor:
    """Logits (P, N, K) of every row and candidate, or of some of them, in float32 on the CPU, in eval mode."""
    head.eval()
    with torch.inference_mode():
        found = (row_logits(head, part, device=device, candidates=candidates) for part in rows.blocks())
        return torch.cat([logits.float().cpu() for logits in found], dim=1)


def score(
    logits: torch.Tensor,
    labels: npt.NDArray[np.int64],
    *,
    class_weights: torch.Tensor | None = None,
    metric: str = "loss",
) -> dict[str, float]:
    """Mean loss in nats, accuracy and macro F1 of logits (N, K) against labels (N,); for choosing checkpoints.

    Also the metric that chooses, where it is another; NaN where it has no value.

    With class weights (K,) also the loss that is trained on, their weighted mean: what is to count more must count more
    when the weights to keep are chosen.
    """
    targets = torch.from_numpy(labels)
    predicted = logits.argmax(dim=1)
    loss = float(nn.functional.cross_entropy(logits, targets))
    num_labels = logits.shape[1]
    hits = torch.bincount(targets[predicted == targets], minlength=num_labels).double()
    support = torch.bincount(targets, minlength=num_labels) + torch.bincount(predicted, minlength=num_labels)
    seen = support > 0
    f1 = float((2 * hits[seen] / support[seen]).mean())
    found = {"loss": loss, "accuracy": float((predicted == targets).double().mean()), "f1_macro": f1}
    if class_weights is not None:
        weighted = float(nn.functional.cross_entropy(logits, targets, weight=class_weights.cpu()))
        # no row has a label of any weight
        found[WEIGHTED_LOSS] = loss if math.isnan(weighted) and math.isfinite(loss) else weighted
    if metric not in found:
        entries = evaluate_classification(
            labels,
            logits.double().softmax(dim=1).numpy(),
            label_names=[str(label) for label in range(num_labels)],
            metrics=[metric],
            positive_label=None,
            num_resamples=1,
            seed=0,
        )
        value = entries[metric]["value"]
        found[metric] = float(value) if isinstance(value, int | float) else math.nan
    return found


class BestWeights:
    """Which evaluation, and which candidate in it, was best so far; keeps those weights.

    Args:
        spec: the recipe's training section.
        weighted: whether classes weigh differently in the loss.
    """

    def __init__(self, spec: TrainingSpec, *, weighted: bool = False) -> None:
        by_loss = spec.metric_for_best_model == "loss"
        self.metric = WEIGHTED_LOSS if by_loss and weighted else str(spec.metric_for_best_model)
        self.by_loss = by_loss
        self.patience = spec.early_stopping_patience
        self.best_score = math.inf if by_loss else -math.inf
        self.best_step = 0
        self.best_candidate = 0
        self.last_candidate = 0
        self.weights: dict[str, torch.Tensor] = {}
        self.without_gain = 0

    @property
    def exhausted(self) -> bool:
        """Whether early stopping's patience is at its end."""
        return self.patience is not None and self.without_gain >= self.patience

    def choose(self, scores: Sequence[Mapping[str, float]]) -> int:
        """The candidate with the best score."""
        values = [found[self.metric] for found in scores]
        return values.index(min(values) if self.by_loss else max(values))

    def update(self, step: int, scores: Sequence[Mapping[str, float]], head: Head) -> tuple[int, bool]:
        """Take note of an evaluation: its best candidate, and whether it is the best one so far."""
        self.last_candidate = self.choose(scores)
        value = scores[self.last_candidate][self.metric]
        improved = value < self.best_score if self.by_loss else value > self.best_score
        if improved:
            self.best_score, self.best_step, self.best_candidate = value, step, self.last_candidate
            self.without_gain = 0
            self.weights = copy.deepcopy(_trained(head))
        else:
            self.without_gain += 1
        return self.last_candidate, improved

    def settle(self, head: Head, *, keep_last: bool) -> int:
        """Load the weights to keep; returns the candidate to keep."""
        if keep_last or not self.weights:
            return self.last_candidate
        head.load_state_dict(self.weights, strict=False)
        return self.best_candidate


def _trained(head: Head) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in head.named_parameters() if parameter.requires_grad}


class HeadProbe:
    """Scores and keeps the probes of one fit.

    Args:
        run: gets the record.
        rows: which examples are kept.
        train: those of the training set.
        test: is scored with the weights after the last step, whichever are kept; None where there is none.
    """

    def __init__(self, run: Run, rows: ProbeRows, *, train: FeatureRows, test: FeatureRows | None) -> None:
        self.log = ProbeLog(run)
        self.rows = rows
        self.train = train
        self.test = test
        self.points: list[CurvePoint] = []
        self.final_test: Scores | None = None
        self.out_of_fold: npt.NDArray[np.float32] | None = None

    def score_train(self, head: Head, candidate: int, *, device: torch.device) -> Scores:
        """What one candidate of a head gives the train probe, in eval mode."""
        return _losses(head, candidate, self.train, device=device)

    def score_test(self, head: Head, candidate: int, *, device: torch.device) -> None:
        """Keep what one candidate of a head gives the test split."""
        if self.test is not None:
            self.final_test = _losses(head, candidate, self.test, device=device)

    def keep_out_of_fold(self, logits: torch.Tensor) -> None:
        """Keep what the evaluation whose weights are kept gave the training rows out of fold, (N, K)."""
        self.out_of_fold = logits.numpy()

    def keep(self, point: CurvePoint) -> None:
        """Keep one evaluation, of which `validation` is the whole set's."""
        kept = point.validation.take(self.rows.validation)
        self.points.append(CurvePoint(point.step, point.epoch, point.rate_mass, point.train, kept))
        if len(self.points) >= POINTS_HELD:
            self.write()

    def write(self) -> None:
        """Put on the disk what has been kept."""
        self.log.write_rows(self.rows)
        if self.out_of_fold is not None:
            self.log.write_out_of_fold(self.out_of_fold)
        self.log.write_all(self.points)
        self.points.clear()
        if self.final_test is not None:
            self.log.write_final_test(self.final_test)


def _losses(head: Head, candidate: int, rows: FeatureRows, *, device: torch.device) -> Scores:
    logits = predict_logits(head, rows, device=device, candidates=slice(candidate, candidate + 1))
    return scores_of_logits(logits[0].numpy(), rows.labels)
