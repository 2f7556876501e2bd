"""task: classification, and its two ways to train: a head on a frozen encoder, or the weights of the model."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ftkit.data.dataset import Split, Splits
from ftkit.encoders.optimization import class_weight_vector
from ftkit.errors import UserError
from ftkit.methods.frozen import FrozenMethod
from ftkit.metrics.names import HUB_PREFIX
from ftkit.models.checkpoint import Checkpoint, resolve_pooling
from ftkit.progress import Reporter
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.tasks.classification.scores import metrics_of, scored
from ftkit.training.way import Way


def way_of(recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter) -> Way:
    """A head on the stored outputs of the encoder, or the weights of the whole."""
    if recipe.method.trains == "head":
        from ftkit.tasks.classification.frozen import features_way

        return features_way(recipe, splits, checkpoint, reporter=reporter)
    from ftkit.tasks.classification.weights import tokens_way

    return tokens_way(recipe, splits, checkpoint, reporter=reporter)


def settled(recipe: ClassificationRecipe, checkpoint: Checkpoint) -> dict[str, object]:
    """Tokens of a text, how many of them neighbouring windows share, and how a frozen encoder pools them."""
    pooling = resolve_pooling(checkpoint, recipe.method.pooling) if isinstance(recipe.method, FrozenMethod) else None
    length = checkpoint.max_length(recipe.data.max_length, pooling=pooling)
    found: dict[str, object] = {"data.max_length": length}
    if (long_texts := recipe.data.reads_long_texts(length)).kind == "windows":
        found["data.window_stride"] = long_texts.stride
    return found if pooling is None else {"method.pooling": pooling.kind, **found}


def rehearse(recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint) -> None:
    """Refuse a label that does not exist; and score made-up predictions where a metric may not be had or computed.

    Raises:
        UserError: a metric that cannot be had or computed, a label that does not exist, an adapter that is gone on
            with for other labels, or windows that share more than half of their tokens.
    """
    length = settled(recipe, checkpoint)["data.max_length"]
    assert isinstance(length, int)
    if 2 * recipe.data.reads_long_texts(length).stride > length:
        raise UserError(
            f"data.window_stride is {recipe.data.window_stride}, more than half of a window's {length} tokens",
            fix=f"set it to at most {length // 2}: it is what neighbouring windows share, not what they advance by",
        )
    if checkpoint.adapter is not None:
        from ftkit.encoders.base_head import base_head

        base_head(checkpoint, splits.label_names)
    labels, asked = np.arange(len(splits.label_names)), recipe.evaluation
    class_weight_vector(
        recipe.training.class_weights, label_names=splits.label_names, counts=np.ones(len(labels), dtype=np.int64)
    )
    if asked.positive_label is not None or any(name.startswith(HUB_PREFIX) for name in asked.metrics):
        made_up = Split("validation", pa.table({"label": pa.array(labels, pa.int32())}), "made up")
        metrics_of(recipe, made_up, scored(np.eye(len(labels), dtype=np.float32), labels), splits.label_names)
