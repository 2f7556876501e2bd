"""Attention of flat rows, each document to its own, with a bias by position: for training encoder-decoders on a CPU.

torch's fused kernel knows neither dropout nor a learned bias on a CPU. What it falls back to adds masks, casts, and
keeps several tensors as large as all products of a padded batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ftkit.models.kernels.fast_dropout import DropoutMask
from ftkit.models.kernels.pair_layout import Layout


def pair_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    layout: Layout,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Document i of the queries attends to document i of the keys: (T, H D) and twice (S, H D) -> (T, H D).

    The products are not scaled, as T5 has it.

    Args:
        query: T tokens of all documents end to end, in the same precision as key and value.
        key, value: S tokens.
        bias: (H, at least the longest, at least the longest), added to the products of each document from its first
            token on; minus infinity where nothing is seen. None for no bias.
        layout: where the documents end, and which are computed together.
        dropout: share of the weights that is dropped.

    Source:
        Dao et al. 2022 (FlashAttention), section 3.1: the softmax's gradient by the product of output and its gradient.
    """
    mask = DropoutMask(dropout) if dropout else None
    with torch.autocast("cpu", enabled=False):
        output: torch.Tensor = _PairAttention.apply(query, key, value, bias, layout, mask)  # type: ignore[no-untyped-call]
    return output


class _PairAttention(torch.autograd.Function):
    """The weights of all groups lie in one flat tensor, so that what is done to each of them is one operation."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor | None,
        layout: Layout,
        mask: DropoutMask | None,
    ) -> torch.Tensor:
        width = query.shape[1] // layout.num_heads
        queries = _grouped(query.reshape(-1, width), layout.queries)
        keys, values = (_grouped(rows.reshape(-1, width), layout.keys) for rows in (key, value))
        weights = query.new_empty(layout.num_products)
        for group, one, other, found in zip(
            layout.groups, layout.of_queries(queries), layout.of_keys(keys), layout.products(weights), strict=True
        ):
            products = torch.bmm(one, other.transpose(1, 2)).view_as(found)
            if bias is not None:
                products += bias[:, : group.size[1], : group.size[2]]
            if group.hidden is not None:
                products += group.hidden.to(products.dtype)
            torch.softmax(products, dim=-1, out=found)
        dropped = weights
        if mask is not None:
            dropped = mask.draw(weights.shape, weights.dtype).mul_(mask.scale).mul_(weights)
        mixed = torch.empty_like(queries)
        for found, other, target in zip(
            layout.products(dropped), layout.of_keys(values), layout.of_queries(mixed), strict=True
        ):
            torch.bmm(found.flatten(0, 1), other, out=target)
        output = mixed.index_select(0, layout.from_queries).view(query.shape)
        ctx.save_for_backward(queries, keys, values, bias, output, weights)
        ctx.layout, ctx.mask = layout, mask
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, keys, values, bias, output, weights = ctx.saved_tensors
        layout: Layout = ctx.layout
        arriving = _grouped(gradient.reshape(-1, queries.shape[1]), layout.queries)
        agreement = (gradient.float() * output).view(-1, queries.shape[1]).sum(dim=1, keepdim=True)
        agreed = _grouped(agreement.to(weights.dtype), layout.queries)
        slopes, dropped = torch.empty_like(weights), weights
        for one, other, found in zip(
            layout.of_queries(arriving), layout.of_keys(values), layout.products(slopes), strict=True
        ):
            torch.bmm(one, other.transpose(1, 2), out=found.flatten(0, 1))
        if ctx.mask is not None:
            mask = ctx.mask.again().draw(weights.shape, weights.dtype).mul_(ctx.mask.scale)
            slopes *= mask
            dropped = mask.mul_(weights)
        for one, found in zip(layout.of_queries(agreed), layout.products(slopes), strict=True):
            found.flatten(0, 1).sub_(one)
        slopes *= weights
        by_query, by_key, by_value = (torch.empty_like(rows) for rows in (queries, keys, values))
        for found, kept, one, other, arrived, to_query, to_key, to_value in zip(
            layout.products(slopes),
            layout.products(dropped),
            layout.of_queries(queries),
            layout.of_keys(keys),
            layout.of_queries(arriving),
            layout.of_queries(by_query),
            layout.of_keys(by_key),
            layout.of_keys(by_value),
            strict=True,
        ):
            stacked = found.flatten(0, 1)
            torch.bmm(stacked, other, out=to_query)
            torch.bmm(stacked.transpose(1, 2), one, out=to_key)
            torch.bmm(kept.flatten(0, 1).transpose(1, 2), arrived, out=to_value)
        by_bias = _sum_by_position(layout.products(slopes), bias) if ctx.needs_input_grad[3] else None
        flat_query = by_query.index_select(0, layout.from_queries).view(output.shape)
        flat_key, flat_value = (
            rows.index_select(0, layout.from_keys).view(-1, output.shape[1]) for rows in (by_key, by_value)
        )
        return flat_query, flat_key, flat_value, by_bias, None, None


def _grouped(rows: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Rows (T H, D) in the order of groups (R, D), zeros for padding."""
    return nn.functional.pad(rows, (0, 0, 0, 1)).index_select(0, order)


def _sum_by_position(slopes: list[torch.Tensor], bias: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(bias, dtype=torch.float32)
    for found in slopes:
        total[:, : found.shape[2], : found.shape[3]] += found.sum(dim=0, dtype=torch.float32)
    return total.to(bias.dtype)
