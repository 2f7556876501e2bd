"""Embeddings that an output layer shares: their gradient from lookups as the few rows that were looked up."""

from __future__ import annotations

from typing import Any

from torch import nn


def use_sparse_lookups(model: nn.Module) -> int:
    """Let lookups in embeddings that are tied to the output layer pass back rows instead of the whole table.

    The output layer's gradient is a whole table anyway, to which autograd adds those rows in place: the parameter's
    gradient is as dense as it was. Otherwise each lookup, of sources and of targets, makes a table of its own, most of
    it zeros.

    Args:
        model: a transformers model, or a peft model around one; changed in place, not in what is saved.

    Returns:
        How many embeddings there are of that kind; none where nothing but adapters is trained.
    """
    whole: Any = model
    base: Any = whole.get_base_model() if hasattr(model, "get_base_model") else model
    layer = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    weight = getattr(layer, "weight", None)
    if weight is None or not weight.requires_grad:
        return 0
    found = [module for module in model.modules() if isinstance(module, nn.Embedding) and module.weight is weight]
    for embedding in found:
        embedding.sparse = True
    return len(found)
