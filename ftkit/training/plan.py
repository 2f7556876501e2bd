"""What a run will cost, before anything is loaded: parameters, steps and an estimate of memory."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ftkit.encoders.features import TOKENS_A_BATCH
from ftkit.encoders.optimization import count_steps
from ftkit.methods.frozen import FrozenMethod
from ftkit.models.checkpoint import Checkpoint, Pooling, resolve_pooling
from ftkit.models.parameters import count_parameters
from ftkit.models.placement import place
from ftkit.recipe.schema import Recipe
from ftkit.training.arguments import mixes_bfloat16, training_precision

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

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return asdict(self)


def make_plan(recipe: Recipe, checkpoint: Checkpoint, *, num_rows: int, num_labels: int, length: int | None) -> Plan:
    """Estimate a run from the checkpoint's configuration; no weight is read.

    Args:
        recipe: any recipe of a classification.
        checkpoint: its base model.
        num_rows: training rows.
        num_labels: K.
        length: tokens of a long batch (the 95th percentile of the examples); None for max_length.
    """
    model = _skeleton(checkpoint, num_labels=num_labels, trust_remote_code=recipe.model.trust_remote_code)
    if isinstance(recipe.method, FrozenMethod):
        return _frozen_plan(recipe, recipe.method, checkpoint, model, num_rows=num_rows, num_labels=num_labels)
    max_length = checkpoint.max_length(recipe.data.max_length)
    if recipe.method.trains == "adapter":
        heads = [name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")]
        model = recipe.method.attach_to_classifier(model, new_parameters=heads)
    counted = count_parameters(model)
    config = model.config
    tokens = recipe.training.per_device_train_batch_size * min(length or max_length, max_length)
    mixed = recipe.training.fp16 or mixes_bfloat16(recipe)
    bytes_a_unit = ACTIVATION_BYTES * (1 if mixed else 2)
    layers = 1 if recipe.training.gradient_checkpointing else config.num_hidden_layers
    placement = place("float32", use_cpu=recipe.training.use_cpu)
    updates = math.ceil(num_rows / recipe.training.per_device_train_batch_size)
    updates = math.ceil(updates / recipe.training.gradient_accumulation_steps)
    return Plan(
        parameters=counted.total,
        trained_parameters=counted.trained,
        steps=recipe.training.max_steps or max(1, math.ceil(updates * recipe.training.num_train_epochs)),
        weights_bytes=4 * counted.total,
        training_bytes=12 * counted.trained + tokens * config.hidden_size * layers * bytes_a_unit,
        features_bytes=0,
        placement=f"{placement.device.type}, {training_precision(recipe)}",
        max_length=max_length,
        pooling="",
    )


def _skeleton(checkpoint: Checkpoint, *, num_labels: int, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(checkpoint.folder, num_labels=num_labels, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
            config, trust_remote_code=trust_remote_code
        )


def _frozen_plan(
    recipe: Recipe, method: FrozenMethod, checkpoint: Checkpoint, model: Any, *, num_rows: int, num_labels: int
) -> Plan:
    pooling = resolve_pooling(checkpoint, method.pooling)
    placement = place(recipe.model.dtype, use_cpu=recipe.training.use_cpu)
    config = model.config
    encoder = count_parameters(model.base_model).total
    head = count_parameters(model).total - encoder if pooling.kind == "cls" else (config.hidden_size + 1) * num_labels
    bytes_a_number = placement.dtype.itemsize
    batch_tokens = TOKENS_A_BATCH.get(placement.device.type, 4_096)
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
