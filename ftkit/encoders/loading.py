"""A checkpoint read as a classifier for the labels of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from ftkit.encoders.base_head import base_head, fit_head_to_labels
from ftkit.errors import UserError
from ftkit.models.causal import make_room
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.reading.adapter import go_on_with, refuse_lacking
from ftkit.models.reading.pretrained import read_config, read_weights

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def missing_parameters(model: PreTrainedModel, missing_keys: Iterable[str]) -> list[str]:
    """The parameters of `model` that its checkpoint did not bring, in the model's order."""
    missing = set(missing_keys)
    return [name for name, _ in model.named_parameters() if name in missing]


class LoadedClassifier(NamedTuple):
    """An AutoModelForSequenceClassification and the names of the parameters its checkpoint did not bring."""

    model: PreTrainedModel
    new_parameters: tuple[str, ...]


def load_for_classification(
    checkpoint: Checkpoint, *, label_names: Sequence[str], seed: int, trust_remote_code: bool, cls_pooling: bool = False
) -> LoadedClassifier:
    """Load a checkpoint with a classification head in float32; new weights are drawn with `seed`.

    A head that it brings already is kept, row for row, where it is for the same labels.

    Args:
        checkpoint: a local checkpoint.
        label_names: K names in the order of the logits.
        seed: of the weights that the checkpoint does not bring.
        trust_remote_code: allow the checkpoint's own Python code.
        cls_pooling: make an architecture that can pool in several ways (ModernBERT) read its first token.

    Raises:
        UserError: transformers has no classification head for the architecture, or cannot read the checkpoint.
    """
    from transformers import AutoModelForSequenceClassification

    names = dict(enumerate(label_names))
    config = read_config(checkpoint, trust_remote_code=trust_remote_code)
    config.num_labels = len(names)
    config.id2label, config.label2id = names, {name: index for index, name in names.items()}
    config.problem_type = "single_label_classification"
    if cls_pooling and hasattr(config, "classifier_pooling"):
        # EuroBERT calls its first token so
        config.classifier_pooling = "bos" if config.classifier_pooling in ("bos", "late") else "cls"
    torch.manual_seed(seed)
    model, missing, mismatched = read_weights(
        AutoModelForSequenceClassification,
        checkpoint,
        what="a classifier",
        config=config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        trust_remote_code=trust_remote_code,
    )
    make_room(model, checkpoint)
    refuse_without_weights(checkpoint, model.base_model, missing)
    missing += mismatched
    head = base_head(checkpoint, label_names)
    if head is not None and not mismatched and checkpoint.adapter is None:
        missing += fit_head_to_labels(model, head, seed=seed)
    return LoadedClassifier(model, tuple(missing_parameters(model, missing)))


def go_on_with_classifier(loaded: LoadedClassifier, checkpoint: Checkpoint) -> PeftModel:
    """Put the adapter that is gone on with on a classifier; with it come its head and whatever else the base lacks.

    Raises:
        UserError: it does not fit, or neither of the two brings a weight.
    """
    assert checkpoint.adapter is not None, "asked for"
    adapted = go_on_with(loaded.model, checkpoint.adapter, base_name=checkpoint.name)
    fix = "name an adapter that was saved with its head"
    refuse_lacking(adapted, loaded.new_parameters, checkpoint.adapter, base_name=checkpoint.name, fix=fix)
    return adapted


def refuse_without_weights(checkpoint: Checkpoint, encoder: PreTrainedModel, missing_keys: Iterable[str]) -> None:
    """Refuse a checkpoint that does not bring most of an encoder: it would be random, and transformers only warns.

    Args:
        checkpoint: as it was read.
        encoder: without a head.
        missing_keys: as transformers reports them, of the encoder or of a model around it.

    Raises:
        UserError: with names of weights that are missing.
    """
    missing = sorted(missing_keys)
    sizes = {name: parameter.numel() for name, parameter in encoder.named_parameters()}
    missing_inside = {key.removeprefix(f"{encoder.base_model_prefix}.") for key in missing}
    random = sum(size for name, size in sizes.items() if name in missing_inside)
    if random > sum(sizes.values()) / 2:
        raise UserError(
            f"{checkpoint.name} lacks most weights of its encoder, among them {', '.join(missing[:3])}; they would be "
            "random",
            fix="name a checkpoint whose weights are those of its configuration",
        )
