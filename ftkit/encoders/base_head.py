"""The classification head that a base brings, and what becomes of it under the labels of the data."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ftkit.data.labels import rows_of_head, shortened
from ftkit.errors import UserError
from ftkit.models.checkpoint import LABELS_FILE, Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class BaseHead(NamedTuple):
    """What becomes of it.

    Attributes:
        rows: its row for each label (K,); None where it is for other labels, so that its last layer begins anew.
        note: the same in words.
    """

    rows: tuple[int, ...] | None
    note: str

    @property
    def keeps_order(self) -> bool:
        """Whether its weights stay as they are."""
        return self.rows is not None and self.rows == tuple(range(len(self.rows)))


def base_head(checkpoint: Checkpoint, label_names: Sequence[str]) -> BaseHead | None:
    """What becomes of the head of a checkpoint under these K labels; None where it brings none.

    Raises:
        UserError: it is that of an adapter which is gone on with, for other labels or another order of them.
    """
    own = checkpoint.head_labels
    if checkpoint.adapter is not None:
        return _head_of_adapter(checkpoint.adapter, own, label_names)
    if not own:
        return None
    rows, whose = rows_of_head(label_names, own), f"the classification head of {checkpoint.name}"
    if rows is None:
        note = (
            f"{whose} is for other labels ({shortened(own)}): its last layer begins anew (to keep it, give its"
            " rows the labels' names: id2label in its config.json)"
        )
        return BaseHead(None, note)
    several = checkpoint.config.get("problem_type") == "multi_label_classification"
    aside = "; it was trained for several labels a text, and goes on with one" if several else ""
    head = BaseHead(rows, "")
    how = "is kept with its labels" if head.keeps_order else "is kept, its rows in the order of the labels"
    return head._replace(note=f"{whose} {how}{aside}")


def _head_of_adapter(folder: Path, own: Sequence[str], label_names: Sequence[str]) -> BaseHead:
    if not own:
        raise UserError(
            "the adapter that is gone on with does not say which labels its head is for",
            where=str(folder),
            fix=f"write num_labels, id2label and label2id, as a config.json has them, in {LABELS_FILE} beside it",
        )
    head = BaseHead(rows_of_head(label_names, own), "the classification head of the adapter goes on with its labels")
    if not head.keeps_order:
        raise UserError(
            f"the adapter that is gone on with is for the labels {shortened(own)}, and the data have "
            f"{shortened(label_names)}",
            where=str(folder),
            fix="set model.adapter_use: merge, and the head is fitted to the labels of the data",
        )
    return head


def fit_head_to_labels(model: PreTrainedModel, head: BaseHead, *, seed: int) -> list[str]:
    """Put the rows of a base's head in the order of the labels, or begin its last layer anew, in place.

    Args:
        model: with K labels, loaded with the head.
        head: what becomes of it.
        seed: of a new layer.

    Returns:
        Names of the parameters that are no longer the checkpoint's.
    """
    if head.keeps_order:
        return []
    axes = _label_axes(model)
    weights = {name: parameter for name, parameter in model.named_parameters() if name in axes}
    if head.rows is not None:
        rows = torch.tensor(head.rows)
        for name, weight in weights.items():
            weight.data = weight.data.index_select(axes[name], rows)
        return list(weights)
    torch.manual_seed(seed)
    for weight in weights.values():
        # transformers leaves alone what it has marked as loaded
        weight._is_hf_initialized = False  # type: ignore[attr-defined]
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in weights):
        initialise: Any = model._init_weights
        initialise(model.get_submodule(owner))
    return list(weights)


def last_layer(model: PreTrainedModel) -> list[str]:
    """Names of the parameters that have a row for each label."""
    return list(_label_axes(model))


def _label_axes(model: PreTrainedModel) -> dict[str, int]:
    """Parameters that have a row for each label -> which of their dimensions counts labels.

    They are those that one label more makes larger.
    """
    config: Any = copy.deepcopy(model.config)
    config.num_labels += 1
    with torch.device("meta"):
        larger = dict(type(model)(config).named_parameters())
    return {
        name: next(axis for axis, size in enumerate(weight.shape) if size != larger[name].shape[axis])
        for name, weight in model.named_parameters()
        if weight.shape != larger[name].shape
    }
