"""What a run will cost, before anything is loaded: parameters, steps and an estimate of memory."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from ftkit.inputs.examples import Examples
from ftkit.methods.freezing import freeze
from ftkit.methods.layer_rates import layer_rates
from ftkit.models.placement import ParameterCount, count_parameters
from ftkit.recipe.schema import Recipe
from ftkit.recipe.training_section import TrainingSpec
from ftkit.training.arguments import mixes_bfloat16
from ftkit.training.sampling import TokenBudgetBatches

ACTIVATION_BYTES = 34
"""Bytes kept for the backward pass per token, hidden unit and layer in 16-bit precision, attention scores left out
because PyTorch's fused attention does not keep them. Source: Korthikanti et al. 2022, section 4.1, equation 1."""


@dataclass(frozen=True)
class Plan:
    """Figures of a run to come.

    Attributes:
        parameters: of the whole model.
        trained_parameters: of these.
        steps: optimizer steps.
        weights_bytes: weights as they lie in memory.
        training_bytes: gradients, AdamW's two moments, and activations (or the batch of an encoder that only runs).
        features_bytes: on disk, for a frozen encoder.
        placement: device and precision.
        max_length: tokens kept of each example.
        pooling: of a frozen encoder, else empty.
        notes: on what is trained, a sentence each.
    """

    parameters: int
    trained_parameters: int
    steps: int
    weights_bytes: int
    training_bytes: int
    features_bytes: int
    placement: str
    max_length: int
    pooling: str
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return asdict(self)


def make_plan(
    recipe: Recipe,
    model: Any,
    *,
    tokens: Sequence[int],
    depths: Sequence[float],
    num_batches: int,
    dtype: torch.dtype,
    placement: str,
    max_length: int,
) -> Plan:
    """Estimate a run; no weight is read.

    Args:
        recipe: what was asked.
        model: without its numbers, with what is trained.
        tokens: that go through the model at once, in the worst batch, on each side.
        depths: layers on each side, of which one with two attentions counts for half as much again.
        num_batches: of an epoch.
        dtype: of weights that are not trained.
        placement: device and precision, in words.
        max_length: tokens kept of each example.
    """
    notes = choose_weights(recipe, model)
    training, counted, vectors = recipe.training, count_parameters(model), recipe.method.vectors(model)
    if vectors:
        counted = ParameterCount(counted.total + vectors, vectors)
    half = dtype.itemsize == 2 or mixes_bfloat16(recipe) or training.fp16
    units = model.config.hidden_size * sum(map(operator.mul, tokens, depths))
    updates = math.ceil(num_batches / training.gradient_accumulation_steps)
    return Plan(
        parameters=counted.total,
        trained_parameters=counted.trained,
        steps=training.max_steps or max(1, math.ceil(updates * training.num_train_epochs)),
        weights_bytes=dtype.itemsize * (counted.total - counted.trained) + 4 * counted.trained,
        training_bytes=12 * counted.trained + int(units * ACTIVATION_BYTES * (1 if half else 2)),
        features_bytes=0,
        placement=placement,
        max_length=max_length,
        pooling="",
        notes=notes,
    )


def choose_weights(recipe: Recipe, model: Any) -> list[str]:
    """Let the parts of a model that the recipe names stay as they are; what is said of them and of the rates, by depth.

    Raises:
        UserError: a part is not there, nothing is left to train, or the layers cannot be told.
    """
    training = recipe.training
    said = freeze(model, recipe.model.freeze or ())
    if training.layer_lr_decay < 1:
        rates = layer_rates(model, decay=training.layer_lr_decay, learning_rate=training.learning_rate)
        said.append(rates.in_words)
    return said


def tokens_of_a_step(training: TrainingSpec, examples: Examples) -> list[int]:
    """Tokens that go through a model at once, in the worst batch, on each side of the examples."""
    lengths = examples.lengths.reshape(len(examples), -1)
    if (budget := training.token_budget()) is not None:
        first = round(budget * float(lengths[:, 0].sum() / lengths.sum()))
        return [first, budget - first][: lengths.shape[1]]
    size = min(len(lengths), training.per_device_train_batch_size)
    if examples.packed:
        return [int(np.sort(lengths.sum(axis=1))[-size:].sum())]
    return [int(longest) * size for longest in lengths.max(axis=0)]


def count_batches(training: TrainingSpec, examples: Examples) -> int:
    """Batches of an epoch, as the trainer will make them."""
    if (budget := training.token_budget()) is None:
        return math.ceil(len(examples) / training.per_device_train_batch_size)
    return len(TokenBudgetBatches(examples.lengths, max_tokens=budget, seed=training.seed, padded=not examples.packed))


def layers_kept(training: TrainingSpec, num_layers: int) -> int:
    """Layers whose activations are held for the backward pass."""
    return 1 if training.gradient_checkpointing else num_layers
