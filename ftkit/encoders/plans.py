"""The two ways to put a head on a frozen encoder: the architecture's own, or one linear layer on a pooled vector."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from ftkit.data.dataset import Splits
from ftkit.encoders.base_head import last_layer
from ftkit.encoders.features import Encoder
from ftkit.encoders.heads import ArchitectureHead, Head, LinearHead, check_replay, feature_statistics
from ftkit.encoders.loading import LoadedClassifier, load_for_classification, refuse_without_weights
from ftkit.encoders.rows import FeatureRows
from ftkit.inputs.text import tokenize_texts
from ftkit.models.checkpoint import Checkpoint, Pooling, cut_as_trained
from ftkit.models.placement import Placement
from ftkit.models.pooled import PooledFolder, pool, save_pooled
from ftkit.models.reading.pretrained import read_weights
from ftkit.models.saved_folder import note_long_texts
from ftkit.models.trial import code_failures_told
from ftkit.recipe.schema import Recipe

PRIOR_VARIANCES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Variances of a Gaussian prior on the weights over features of length 1, each of which is a strength of the L2 penalty
that `weight_decay: auto` tries (scikit-learn's C of such features): from hardly any room to move to nearly all."""

CHECK_ROWS = 8
"""Examples on which a replay is held against the whole model."""


class FrozenPlan(Protocol):
    """A head, the encoder that feeds it, and how both are saved.

    Attributes:
        is_linear: whether the head makes of the mean of some vectors the mean of their logits.
    """

    encoder: Encoder
    is_linear: bool

    def head(self, train: FeatureRows) -> LinearHead | ArchitectureHead:
        """A head ready to be trained."""

    def save(self, head: Head, target: Path) -> None:
        """Fill the empty folder `target` with a standard model."""


def choose_plan(
    recipe: Recipe, splits: Splits, *, checkpoint: Checkpoint, pooling: Pooling, placement: Placement
) -> FrozenPlan:
    """The plan that a pooling asks for."""
    plan = ArchitecturePlan if pooling.kind == "cls" else PooledPlan
    return plan(recipe, splits, checkpoint=checkpoint, pooling=pooling, placement=placement)


class PooledPlan:
    """One linear layer on the pooled vector, saved as sentence-transformers modules.

    Neither transformers nor the encoder is loaded when the features are stored already.
    """

    is_linear = True

    def __init__(
        self, recipe: Recipe, splits: Splits, *, checkpoint: Checkpoint, pooling: Pooling, placement: Placement
    ) -> None:
        self.recipe = recipe
        self.splits = splits
        max_length = checkpoint.max_length(recipe.data.max_length, pooling=pooling)
        self.encoder = Encoder(
            checkpoint=checkpoint,
            pooling=pooling,
            max_length=max_length,
            long_texts=recipe.data.reads_long_texts(max_length),
            placement=placement,
            load=lambda: load_encoder(checkpoint, placement, trust_remote_code=recipe.model.trust_remote_code),
            trust_remote_code=recipe.model.trust_remote_code,
        )

    def head(self, train: FeatureRows) -> LinearHead:
        """A linear layer on standardised features."""
        mean, scale = feature_statistics(part.vectors for part in train.blocks())
        asked = self.recipe.training.weight_decay
        penalties = auto_penalties(len(mean), num_rows=len(train)) if asked == "auto" else (asked,)
        return LinearHead(mean=mean, scale=scale, num_labels=len(self.splits.label_names), penalties=penalties)

    def save(self, head: Head, target: Path) -> None:
        """Transformer, Pooling and Dense; the standardisation folded into the Dense layer."""
        assert isinstance(head, LinearHead)
        written = PooledFolder(self.encoder.pooling, *head.folded(), self.encoder.max_length)
        save_pooled(
            target,
            self.encoder.checkpoint,
            written,
            label_names=self.splits.label_names,
            trust_remote_code=self.recipe.model.trust_remote_code,
        )
        note_long_texts(target, self.encoder.long_texts)


def auto_penalties(width: int, *, num_rows: int) -> tuple[float, ...]:
    """Strengths of the L2 penalty beside a mean loss over N rows, on features (N, D) of mean square 1, the best MAP
    estimate under each prior: D / (N * variance). More rows outweigh a prior, and more features share it.

    Example:
        >>> auto_penalties(384, num_rows=3_840)[3:6]
        (0.1, 0.0333, 0.01)
    """
    return tuple(float(f"{width / (num_rows * variance):.3g}") for variance in PRIOR_VARIANCES)


class ArchitecturePlan:
    """The head of AutoModelForSequenceClassification: what the checkpoint does not bring of it is trained.

    Of a head that it brings whole that is the last layer.
    """

    is_linear = False

    def __init__(
        self, recipe: Recipe, splits: Splits, *, checkpoint: Checkpoint, pooling: Pooling, placement: Placement
    ) -> None:
        self.recipe = recipe
        self.splits = splits
        self.placement = placement
        max_length = checkpoint.max_length(recipe.data.max_length)
        self.encoder = Encoder(
            checkpoint=checkpoint,
            pooling=pooling,
            max_length=max_length,
            long_texts=recipe.data.reads_long_texts(max_length),
            placement=placement,
            load=lambda: in_precision(self.loaded.model.base_model, placement),
            trust_remote_code=recipe.model.trust_remote_code,
        )

    @cached_property
    def loaded(self) -> LoadedClassifier:
        """The whole model in float32."""
        return load_for_classification(
            self.encoder.checkpoint,
            label_names=self.splits.label_names,
            seed=self.recipe.training.seed,
            trust_remote_code=self.recipe.model.trust_remote_code,
            cls_pooling=True,
        )

    def head(self, train: FeatureRows) -> ArchitectureHead:  # noqa: ARG002
        """The architecture's own head around a replay, checked against the whole model on a few examples."""
        model, new = self.loaded
        head = ArchitectureHead(model, trainable=new or last_layer(model))
        self._check(head.eval())
        return head

    def save(self, head: Head, target: Path) -> None:  # noqa: ARG002
        """The ordinary full checkpoint: the head shares its parameters with the whole model."""
        self.loaded.model.save_pretrained(target)
        cut_as_trained(self.encoder.tokenizer, self.encoder.max_length)
        self.encoder.tokenizer.save_pretrained(target)
        note_long_texts(target, self.encoder.long_texts)

    def _check(self, head: ArchitectureHead) -> None:
        model: nn.Module = self.loaded.model
        model.eval()
        few = self.splits.train.table.slice(0, CHECK_ROWS)
        pairs = few["text_pair"].to_pylist() if "text_pair" in few.column_names else None
        tokens = tokenize_texts(
            self.encoder.tokenizer, few["text"].to_pylist(), pairs, max_length=self.encoder.max_length
        )
        replayed, full = [], []
        told = code_failures_told(model, name=self.encoder.checkpoint.name, doing="run apart from its head")
        with told, torch.inference_mode():
            for row in range(len(few)):
                inputs = {name: torch.tensor([ids[row]]) for name, ids in tokens.columns.items()}
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
                full.append(model(**inputs).logits)
                hidden = self.loaded.model.base_model(**inputs).last_hidden_state
                replayed.append(head(pool(hidden, tokens="first", normalize=False))[0])
        check_replay(type(model).__name__, replayed=torch.cat(replayed), full=torch.cat(full))


def load_encoder(checkpoint: Checkpoint, placement: Placement, *, trust_remote_code: bool) -> nn.Module:
    """An encoder that only runs, where and as precisely as it shall."""
    from transformers import AutoModel

    encoder, missing, _ = read_weights(
        AutoModel, checkpoint, what="an encoder", dtype=placement.dtype, trust_remote_code=trust_remote_code
    )
    refuse_without_weights(checkpoint, encoder, missing)
    module: nn.Module = encoder.eval().to(placement.device)
    return module


def in_precision(encoder: nn.Module, placement: Placement) -> nn.Module:
    """The encoder where and as it shall run: a copy, unless that is float32 on the CPU, in which it is saved."""
    same = placement.dtype == torch.float32 and placement.device.type == "cpu"
    chosen = encoder if same else copy.deepcopy(encoder).to(device=placement.device, dtype=placement.dtype)
    return chosen.eval()
