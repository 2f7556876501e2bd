"""Causal attention of documents by plain matrix products, a block of queries at a time: for training on a CPU.

torch's fused kernel knows no dropout on a CPU, where attention then falls back to products of float32 over the whole
document, with several copies of all weights kept for the backward pass; and its own backward pass in bfloat16 is slow
on short documents. Here the weights of one block are held at a time, and made again for the gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from ftkit.models.kernels.fast_dropout import DropoutMask

BLOCK = 256
"""Queries of a block. Fewer skip more of the future that is masked anyway, more make larger products."""


class _Settings(NamedTuple):
    lengths: list[int]
    masks: dict[int, torch.Tensor]
    scaling: float
    dropout: DropoutMask | None


def blockwise_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    lengths: list[int],
    masks: dict[int, torch.Tensor],
    scaling: float | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Each document of a flat row attends to itself: (1, H, T, D) and twice (1, G, T, D) -> (1, T, H, D).

    Args:
        query: H heads of all documents end to end, in the same precision as key and value.
        key, value: G heads, each for H / G of the query's.
        lengths: tokens of each document.
        masks: document -> bool (1, 1, L, L), where more is hidden than the future.
        scaling: factor of the products; None: 1 / sqrt(D).

    Source:
        Dao et al. 2022 (FlashAttention), section 3.1: weights in blocks, made again in the backward pass.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    settings = _Settings(lengths, masks, scaling, DropoutMask(dropout) if dropout else None)
    with torch.autocast("cpu", enabled=False):
        output: torch.Tensor = _BlockwiseAttention.apply(query, key, value, settings)  # type: ignore[no-untyped-call]
    return output


class _Document(NamedTuple):
    """One document: where it lies in the row, its states, each (H, L, D) or (G, L, D) and contiguous, and perhaps a
    mask to add to the products, (1, L, L)."""

    rows: slice
    states: list[torch.Tensor]
    hidden: torch.Tensor | None


def _documents(settings: _Settings, *rows: torch.Tensor) -> Iterator[_Document]:
    """The documents one after the other; rows: (1, H, T, D) each."""
    start = 0
    for document, length in enumerate(settings.lengths):
        part = slice(start, start + length)
        mask = settings.masks.get(document)
        # always a copy: the queries are scaled in place
        states = [row[0, :, part].clone(memory_format=torch.contiguous_format) for row in rows]
        hidden = None if mask is None else torch.zeros(mask.shape[1:]).masked_fill_(~mask[0], float("-inf"))
        yield _Document(part, states, None if hidden is None else hidden.to(states[0].dtype))
        start += length


def _products(query: torch.Tensor, key: torch.Tensor, block: slice, hidden: torch.Tensor | None) -> torch.Tensor:
    """Products of a block of queries, minus infinity where nothing is seen: (H, block, keys up to its end).

    Query heads that share a key's head are stacked below one another for the product.
    """
    num_queries, num_keys = block.stop - block.start, block.stop
    products = torch.bmm(_stacked(query[:, block], len(key)), key[:, :num_keys].transpose(1, 2))
    products = products.view(len(query), num_queries, num_keys)
    # masks are added: masked_fill is several times slower
    if hidden is None:
        products[:, :, block] += _future(products.dtype)[:num_queries, :num_queries]
    else:
        products += hidden[:, block, :num_keys]
    return products


def _stacked(states: torch.Tensor, num_groups: int) -> torch.Tensor:
    """(H, L, D) -> (G, H / G * L, D)."""
    return states.reshape(num_groups, -1, states.shape[-1])


@functools.cache
def _future(dtype: torch.dtype) -> torch.Tensor:
    return torch.full((BLOCK, BLOCK), float("-inf"), dtype=dtype).triu_(1)


def _blocks(length: int) -> Iterator[slice]:
    for start in range(0, length, BLOCK):
        yield slice(start, min(start + BLOCK, length))


class _BlockwiseAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, settings: _Settings
    ) -> torch.Tensor:
        num_heads, num_tokens, width = query.shape[1], query.shape[2], value.shape[3]
        output = query.new_empty(1, num_tokens, num_heads, width)
        for rows, (queries, keys, values), hidden in _documents(settings, query, key, value):
            queries *= settings.scaling
            for block in _blocks(queries.shape[1]):
                weights = torch.softmax(_products(queries, keys, block, hidden), dim=-1)
                if settings.dropout is not None:
                    weights *= settings.dropout.draw(weights.shape, weights.dtype)
                mixed = torch.bmm(_stacked(weights, len(keys)), values[:, : block.stop])
                output[0, rows][block] = mixed.view(num_heads, -1, width).transpose(0, 1)
        if settings.dropout is not None:
            output *= settings.dropout.scale
        ctx.save_for_backward(query, key, value)
        ctx.settings = settings
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        settings: _Settings = ctx.settings
        dropout = None if settings.dropout is None else settings.dropout.again()
        gradient = (gradient if dropout is None else gradient * dropout.scale).transpose(1, 2)
        by_query, by_key, by_value = (torch.empty_like(states.transpose(1, 2)) for states in (query, key, value))
        for rows, (queries, keys, values, arriving), hidden in _documents(settings, query, key, value, gradient):
            queries *= settings.scaling
            key_sums, value_sums = torch.zeros_like(keys), torch.zeros_like(values)
            for block in _blocks(queries.shape[1]):
                seen, stacked = slice(0, block.stop), (len(keys), -1, block.stop)
                products = _products(queries, keys, block, hidden).requires_grad_()
                with torch.enable_grad():
                    weights = torch.softmax(products, dim=-1)
                arrived = _stacked(arriving[:, block], len(keys))
                slopes = torch.bmm(arrived, values[:, seen].transpose(1, 2)).view_as(weights)
                kept = weights.detach()
                if dropout is not None:
                    mask = dropout.draw(weights.shape, weights.dtype)
                    slopes *= mask
                    kept = mask.mul_(kept)
                value_sums[:, seen] += torch.bmm(kept.view(stacked).transpose(1, 2), arrived)
                slopes = torch.autograd.grad(weights, products, slopes)[0].view(stacked)
                mixed = torch.bmm(slopes, keys[:, seen]).view(len(queries), -1, queries.shape[-1])
                by_query[0, rows][block] = mixed.transpose(0, 1)
                key_sums[:, seen] += torch.bmm(slopes.transpose(1, 2), _stacked(queries[:, block], len(keys)))
            by_key[0, rows], by_value[0, rows] = key_sums.transpose(0, 1), value_sums.transpose(0, 1)
        by_query *= settings.scaling
        return by_query.transpose(1, 2), by_key.transpose(1, 2), by_value.transpose(1, 2), None
