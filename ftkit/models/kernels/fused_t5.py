"""T5 in fewer operations: batches without padding, norms and feed-forward layers in one step each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from ftkit.models.kernels.fast_dropout import DropoutMask
from ftkit.models.kernels.flat_pairs import FLAT_PAIRS, WITHOUT_PADDING, FlatPairs
from ftkit.models.kernels.pair_attention import pair_attention

Attended = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""What T5's attention returns: states, the bias by position for the layers above, and weights if asked for."""


def use_fused_t5(model: nn.Module) -> int:
    """Let T5 and mT5 compute the same with less; other models stay as they are.

    Replaces `forward` of each norm, feed-forward layer and attention. Attention does what it did unless the rows of a
    batch lie end to end (`kernels.flat_pairs`), which is how a model that computes its loss in chunks then runs:
    nothing is spent on padding. Adapters are attached before; returns how many modules were replaced.
    """
    from transformers.models.mt5 import modeling_mt5 as mt5
    from transformers.models.t5 import modeling_t5 as t5

    forwards: dict[type, Callable[..., Any]] = {
        t5.T5LayerNorm: _norm,
        mt5.MT5LayerNorm: _norm,
        t5.T5DenseActDense: _feed_forward,
        mt5.MT5DenseActDense: _feed_forward,
        t5.T5DenseGatedActDense: _feed_forward,
        mt5.MT5DenseGatedActDense: _feed_forward,
        t5.T5Attention: _attention,
        mt5.MT5Attention: _attention,
    }
    found: list[Any] = [module for module in model.modules() if type(module) in forwards]
    for module in found:
        module.forward = functools.partial(forwards[type(module)], module, module.forward)
    for whole in model.modules():
        if type(whole) in (t5.T5ForConditionalGeneration, mt5.MT5ForConditionalGeneration):
            setattr(whole, WITHOUT_PADDING, True)
    return len(found)


def _attention(
    module: Any, own: Callable[..., Any], hidden_states: torch.Tensor, *arguments: Any, **options: Any
) -> Attended:
    pairs: FlatPairs | None = options.get(FLAT_PAIRS)
    if pairs is None:
        return cast("Attended", own(hidden_states, *arguments, **options))
    # the layers around it name all but the states
    assert not arguments
    key_value_states, position_bias = options.get("key_value_states"), options.get("position_bias")
    lengths = pairs.targets if module.is_decoder else pairs.sources
    if position_bias is None and module.has_relative_attention_bias:
        position_bias = _position_bias(module, max(lengths))
    read = hidden_states if key_value_states is None else key_value_states
    mixed = pair_attention(
        module.q(hidden_states)[0],
        module.k(read)[0],
        module.v(read)[0],
        position_bias,
        layout=pairs.layout(
            from_targets=module.is_decoder,
            to_sources=key_value_states is not None or not module.is_decoder,
            num_heads=module.n_heads,
        ),
        dropout=module.dropout if module.training else 0.0,
    )
    return module.o(mixed[None]), position_bias, None


def _position_bias(module: Any, length: int) -> torch.Tensor:
    """What is added to the products of a document of that length (H, L, L), the future hidden from a decoder."""
    bias: torch.Tensor = module.compute_bias(length, length)[0]
    if module.is_decoder:
        bias = bias + torch.full((length, length), float("-inf"), dtype=bias.dtype).triu_(1)
    if torch.is_autocast_enabled("cpu"):
        bias = bias.to(torch.get_autocast_dtype("cpu"))
    return bias.contiguous()


def _feed_forward(module: Any, own: Callable[..., Any], hidden_states: torch.Tensor) -> torch.Tensor:
    """As T5's own, whose output layer's input is cast to float32 and back under autocast."""
    if hidden_states.device.type != "cpu":
        return cast("torch.Tensor", own(hidden_states))
    drops = module.dropout.p if module.training else 0.0
    if hasattr(module, "wi_0"):
        states = module.dropout(module.act(module.wi_0(hidden_states)) * module.wi_1(hidden_states))
    elif isinstance(module.act, nn.ReLU) and 0 < drops < 1:
        states = _ReluDropout.apply(module.wi(hidden_states), DropoutMask(drops))  # type: ignore[no-untyped-call]
    else:
        states = module.dropout(module.act(module.wi(hidden_states)))
    weight = module.wo.weight
    if not torch.is_autocast_enabled("cpu") and weight.dtype.is_floating_point:
        states = states.to(weight.dtype)
    return cast("torch.Tensor", module.wo(states))


class _ReluDropout(torch.autograd.Function):
    """The output tells what was dropped or negative, so that the mask need neither be kept nor drawn again."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, mask: DropoutMask) -> torch.Tensor:
        output = mask.draw(values.shape, values.dtype).mul_(mask.scale).mul_(values).clamp_min_(0)
        ctx.save_for_backward(output)
        ctx.scale = mask.scale
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (output,) = ctx.saved_tensors
        return torch.sign(output).mul_(ctx.scale).mul_(gradient), None


def _norm(module: Any, own: Callable[..., Any], hidden_states: torch.Tensor) -> torch.Tensor:
    if hidden_states.device.type != "cpu":
        return cast("torch.Tensor", own(hidden_states))
    output: torch.Tensor = _RootMeanSquare.apply(hidden_states, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return output


class _RootMeanSquare(torch.autograd.Function):
    """x / root mean square of x, times a weight; under autocast in its precision, to which its readers would cast.

    Source:
        Zhang and Sennrich 2019 (RMSNorm).
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        rows, mixes = states.reshape(-1, states.shape[-1]).float(), torch.is_autocast_enabled("cpu")
        mean = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).square_().div_(rows.shape[-1])
        inverse = mean.add_(epsilon).rsqrt_()
        output: torch.Tensor = rows * inverse
        if weight.dtype != torch.float32:
            output = output.to(weight.dtype)
        output *= weight
        ctx.save_for_backward(states, weight, inverse)
        output = output.view(states.shape)
        return output.to(torch.get_autocast_dtype("cpu")) if mixes else output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        states, weight, inverse = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            width = states.shape[-1]
            rows, arriving, scales = states.reshape(-1, width).float(), gradient.reshape(-1, width), weight.float()
            products = rows * arriving
            by_weight = (inverse.t() @ products)[0].to(weight.dtype) if ctx.needs_input_grad[1] else None
            shrink = (products @ scales)[:, None].mul_(inverse**3).div_(-width)
            by_states = (arriving * scales).mul_(inverse).addcmul_(rows, shrink)
        return by_states.view(states.shape).to(states.dtype), by_weight, None
