"""Attention with soft-capped products, which no fused kernel does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def softcapped_attention(softcap: float) -> Callable[..., tuple[torch.Tensor, None]]:
    """Attention in plain tensor operations, for layers with soft-capped products.

    Source:
        transformers' gemma2 eager_attention_forward; Gemma Team 2024 (Gemma 2), section 2.
    """

    def attend(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        *,
        dropout: float,
        scaling: float | None,
        **_options: Any,
    ) -> tuple[torch.Tensor, None]:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        products = torch.tanh(query @ key.transpose(2, 3) * scaling / softcap) * softcap
        if mask is None:
            shape = products.shape[-2:]
            mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril(diagonal=shape[1] - shape[0])
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, torch.finfo(query.dtype).min)
        products = products + mask
        weights = nn.functional.softmax(products, dim=-1, dtype=torch.float32).to(query.dtype)
        weights = nn.functional.dropout(weights, p=dropout, training=module.training)
        return (weights @ value).transpose(1, 2).contiguous(), None

    return attend
