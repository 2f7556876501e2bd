"""What the training of a language model will cost, before a weight is read."""

from __future__ import annotations

import math
from typing import Any

import torch

from ftkit.inputs.sequences import Sequences
from ftkit.models.causal import refuse_other_kinds
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.parameters import ParameterCount, count_parameters
from ftkit.recipe.schema import Recipe
from ftkit.training.arguments import mixes_bfloat16
from ftkit.training.plan import ACTIVATION_BYTES, Plan
from ftkit.training.prepared import language_placement, precision_in_words
from ftkit.training.sampling import TokenBudgetBatches
from ftkit.training.trainer import Batching, SequenceRows, TrainingRows


def make_language_plan(
    recipe: Recipe,
    checkpoint: Checkpoint,
    sequences: Sequences,
    *,
    max_length: int,
    packed: bool,
) -> Plan:
    """Estimate a run from the checkpoint's configuration and the tokenized training set.

    Args:
        recipe: of task causal_lm.
        checkpoint: its base model.
        sequences: the training set.
        max_length: tokens of an example.
        packed: whether examples will lie end to end.
    """
    model = _skeleton(recipe, checkpoint)
    counted = _counted(recipe, model)
    placement = language_placement(recipe)
    config = model.config
    half = placement.dtype.itemsize == 2 or mixes_bfloat16(recipe) or recipe.training.fp16
    layers = 1 if recipe.training.gradient_checkpointing else config.num_hidden_layers
    tokens = _tokens_of_a_step(recipe, sequences, max_length=max_length, packed=packed)
    return Plan(
        parameters=counted.total,
        trained_parameters=counted.trained,
        steps=_steps(recipe, sequences, packed=packed),
        weights_bytes=placement.dtype.itemsize * (counted.total - counted.trained) + 4 * counted.trained,
        training_bytes=12 * counted.trained
        + tokens * config.hidden_size * layers * ACTIVATION_BYTES * (1 if half else 2),
        features_bytes=0,
        placement=precision_in_words(recipe, placement),
        max_length=max_length,
        pooling="",
    )


def _skeleton(recipe: Recipe, checkpoint: Checkpoint) -> Any:
    """The model without its numbers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    refuse_other_kinds(checkpoint)
    trust = recipe.model.trust_remote_code
    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=trust)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)  # type: ignore[no-untyped-call]
        return recipe.method.sketch(model)


def _counted(recipe: Recipe, model: Any) -> ParameterCount:
    counted, vectors = count_parameters(model), recipe.method.vectors(model)
    return ParameterCount(counted.total + vectors, vectors) if vectors else counted


def _tokens_of_a_step(recipe: Recipe, sequences: Sequences, *, max_length: int, packed: bool) -> int:
    """Tokens that go through the model at once, in the worst batch."""
    training = recipe.training
    if training.max_tokens_per_batch is not None:
        return training.max_tokens_per_batch
    longest = sorted(sequences.lengths.tolist(), reverse=True)[: training.per_device_train_batch_size]
    return sum(longest) if packed else len(longest) * min(longest[0], max_length)


def count_batches(recipe: Recipe, rows: TrainingRows) -> int:
    """Batches of an epoch, as the trainer will make them."""
    training, batching = recipe.training, rows.batching
    if batching.max_tokens is None:
        return math.ceil(len(rows.lengths) / training.per_device_train_batch_size)
    return len(
        TokenBudgetBatches(rows.lengths, max_tokens=batching.max_tokens, seed=training.seed, padded=not batching.packed)
    )


def _steps(recipe: Recipe, sequences: Sequences, *, packed: bool) -> int:
    training = recipe.training
    if training.max_steps is not None:
        return training.max_steps
    batching = Batching(packed=packed, pad_id=0, max_tokens=training.max_tokens_per_batch)
    batches = count_batches(recipe, SequenceRows(sequences, batching))
    return max(1, math.ceil(math.ceil(batches / training.gradient_accumulation_steps) * training.num_train_epochs))
