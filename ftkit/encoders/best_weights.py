"""Which evaluation of a head's fit was best so far, and the weights that it had."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch

from ftkit.encoders.heads import Head
from ftkit.recipe.schema import TrainingSpec


class BestWeights:
    """Which evaluation, and which candidate in it, was best so far; keeps those weights."""

    def __init__(self, spec: TrainingSpec) -> None:
        self.metric = spec.metric_for_best_model
        self.patience = spec.early_stopping_patience
        self.best_score = math.inf if self.metric == "loss" else -math.inf
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
        return values.index(min(values) if self.metric == "loss" else max(values))

    def update(self, step: int, scores: Sequence[Mapping[str, float]], head: Head) -> tuple[int, bool]:
        """Take note of an evaluation: its best candidate, and whether it is the best one so far."""
        self.last_candidate = self.choose(scores)
        value = scores[self.last_candidate][self.metric]
        improved = value < self.best_score if self.metric == "loss" else value > self.best_score
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
