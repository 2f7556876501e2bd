"""What the training of an encoder-decoder will cost, before a weight is read."""

from __future__ import annotations

import math
from typing import Any

import torch

from ftkit.inputs.pairs import TokenizedPairs
from ftkit.methods.prefix_tuning import decoder_shape
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.parameters import ParameterCount, count_parameters
from ftkit.models.seq2seq import refuse_decoders_and_encoders, refuse_float16
from ftkit.recipe.schema import Recipe
from ftkit.training.arguments import mixes_bfloat16
from ftkit.training.language_plan import count_batches
from ftkit.training.plan import ACTIVATION_BYTES, Plan
from ftkit.training.prepared import language_placement, precision_in_words
from ftkit.training.trainer import Batching, PairRows


def make_seq2seq_plan(recipe: Recipe, checkpoint: Checkpoint, train: TokenizedPairs) -> Plan:
    """Estimate a run from the checkpoint's configuration and the tokenized training set.

    Args:
        recipe: of task seq2seq.
        checkpoint: its base model.
        train: the training set.

    Raises:
        UserError: the checkpoint does not fit the task.
    """
    refuse_decoders_and_encoders(checkpoint)
    refuse_float16(checkpoint, fp16=recipe.training.fp16, dtype=recipe.model.dtype)
    model = _skeleton(recipe, checkpoint)
    counted = _counted(recipe, model)
    placement, config = language_placement(recipe), model.config
    half = placement.dtype.itemsize == 2 or mixes_bfloat16(recipe) or recipe.training.fp16
    rows = PairRows(train.pairs, Batching(packed=False, pad_id=0, max_tokens=recipe.training.max_tokens_per_batch))
    decoder_layers = 1 if recipe.training.gradient_checkpointing else decoder_shape(config).num_layers
    encoder_layers = 1 if recipe.training.gradient_checkpointing else config.num_hidden_layers
    sources, targets = _tokens_of_a_step(recipe, rows)
    # a decoder's layer has two attentions, about half as much again
    units = config.hidden_size * (sources * encoder_layers + 1.5 * targets * decoder_layers)
    return Plan(
        parameters=counted.total,
        trained_parameters=counted.trained,
        steps=_steps(recipe, rows),
        weights_bytes=placement.dtype.itemsize * (counted.total - counted.trained) + 4 * counted.trained,
        training_bytes=12 * counted.trained + int(units * ACTIVATION_BYTES * (1 if half else 2)),
        features_bytes=0,
        placement=precision_in_words(recipe, placement),
        max_length=train.max_length,
        pooling="",
    )


def _skeleton(recipe: Recipe, checkpoint: Checkpoint) -> Any:
    """The model without its numbers."""
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    trust = recipe.model.trust_remote_code
    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=trust)
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config, trust_remote_code=trust)  # type: ignore[no-untyped-call]
        return recipe.method.sketch(model)


def _counted(recipe: Recipe, model: Any) -> ParameterCount:
    counted, vectors = count_parameters(model), recipe.method.vectors(model)
    return ParameterCount(counted.total + vectors, vectors) if vectors else counted


def _tokens_of_a_step(recipe: Recipe, rows: PairRows) -> tuple[int, int]:
    """Tokens of sources and of targets that go through the model at once, in the worst batch."""
    lengths = rows.lengths
    if recipe.training.max_tokens_per_batch is not None:
        share = lengths[:, 0].sum() / lengths.sum()
        sources = round(recipe.training.max_tokens_per_batch * share)
        return sources, recipe.training.max_tokens_per_batch - sources
    size = min(len(lengths), recipe.training.per_device_train_batch_size)
    longest = lengths.max(axis=0) * size
    return int(longest[0]), int(longest[1])


def _steps(recipe: Recipe, rows: PairRows) -> int:
    training = recipe.training
    if training.max_steps is not None:
        return training.max_steps
    batches = count_batches(recipe, rows)
    return max(1, math.ceil(math.ceil(batches / training.gradient_accumulation_steps) * training.num_train_epochs))
