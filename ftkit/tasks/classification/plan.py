"""What the training of a classifier will cost, before a weight is read."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from ftkit.encoders.optimization import count_steps
from ftkit.inputs.text import text_tokens
from ftkit.methods.frozen import FrozenMethod
from ftkit.models.checkpoint import Checkpoint, Pooling, resolve_pooling
from ftkit.models.placement import choose_device, count_parameters, place
from ftkit.models.reading.pretrained import sketch
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.training.arguments import training_precision
from ftkit.training.plan import Plan, layers_kept, make_plan


def plan_classifier(
    recipe: ClassificationRecipe,
    checkpoint: Checkpoint,
    *,
    num_rows: int,
    num_windows: int,
    num_labels: int,
    length: int | None,
) -> Plan:
    """Estimate a run from the checkpoint's configuration; no weight is read.

    Args:
        recipe: any recipe of a classification.
        checkpoint: its base model.
        num_rows: training rows.
        num_windows: in which they are read.
        num_labels: K.
        length: tokens of a long batch (the 95th percentile of the examples); None for max_length.
    """
    training, trust = recipe.training, recipe.model.trust_remote_code
    model = sketch(AutoModelForSequenceClassification, checkpoint, trust_remote_code=trust, num_labels=num_labels)
    if isinstance(recipe.method, FrozenMethod):
        plan = _frozen_plan(recipe, recipe.method, checkpoint, model, num_rows=num_rows, num_labels=num_labels)
        return replace(plan, features_bytes=plan.features_bytes * num_windows // num_rows)
    max_length = checkpoint.max_length(recipe.data.max_length)
    heads = [name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")]
    return make_plan(
        recipe,
        recipe.method.attach_to_classifier(model, new_parameters=heads),
        tokens=[training.per_device_train_batch_size * min(length or max_length, max_length)],
        depths=[layers_kept(training, model.config.num_hidden_layers)],
        num_batches=math.ceil(num_windows / training.per_device_train_batch_size),
        dtype=torch.float32,
        placement=f"{choose_device(use_cpu=training.use_cpu).type}, {training_precision(recipe)}",
        max_length=max_length,
    )


def _frozen_plan(
    recipe: ClassificationRecipe,
    method: FrozenMethod,
    checkpoint: Checkpoint,
    model: Any,
    *,
    num_rows: int,
    num_labels: int,
) -> Plan:
    pooling = resolve_pooling(checkpoint, method.pooling)
    placement = place(recipe.model.dtype, use_cpu=recipe.training.use_cpu)
    config = model.config
    encoder = count_parameters(model.base_model).total
    head = count_parameters(model).total - encoder if pooling.kind == "cls" else (config.hidden_size + 1) * num_labels
    bytes_a_number = placement.dtype.itemsize
    batch_tokens = text_tokens(placement.device.type)
    widest = max(getattr(config, "intermediate_size", 0) or 0, 4 * config.hidden_size)
    workers = torch.get_num_threads() if placement.device.type == "cpu" else 1
    return Plan(
        parameters=encoder + head,
        trained_parameters=head,
        steps=count_steps(recipe.training, num_rows=num_rows),
        weights_bytes=bytes_a_number * encoder + 4 * head,
        training_bytes=workers * batch_tokens * widest * 2 * bytes_a_number + 12 * head,
        features_bytes=num_rows * config.hidden_size * (4 if placement.dtype == torch.float32 else 2),
        placement=placement.reason,
        max_length=checkpoint.max_length(recipe.data.max_length, pooling=_own(pooling)),
        pooling=str(pooling),
    )


def _own(pooling: Pooling) -> Pooling | None:
    return pooling if pooling.kind != "cls" else None
