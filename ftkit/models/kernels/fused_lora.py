"""LoRA layers computed as one operation: two small products more than the frozen layer, and no tensor of their own.

peft's layers cast their input to float32, keep the cast for the backward pass, and add the adapter's output in passes
over tensors as large as the layer's own. Here the adapter is added inside the products themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ftkit.models.kernels.fast_dropout import DropoutMask


def use_fused_lora(model: nn.Module) -> int:
    """Let the LoRA layers of a peft model compute in one operation where nothing but plain LoRA is asked of them.

    Replaces `forward` of each layer over a frozen nn.Linear or Conv1D. Layers with DoRA, several adapters, merged or
    disabled ones, weights in another precision than the product's, or on a device other than a CPU do what they did,
    decided anew at every call. Returns how many layers there are of that kind.
    """
    from peft.tuners.lora.layer import Linear
    from transformers.pytorch_utils import Conv1D

    found: list[Any] = [
        module
        for module in model.modules()
        if type(module) is Linear and type(module.get_base_layer()) in (nn.Linear, Conv1D)
    ]
    for module in found:
        module.forward = functools.partial(_forward, module, module.forward)
    return len(found)


def _forward(
    module: Any, own: Callable[..., torch.Tensor], hidden: torch.Tensor, *arguments: Any, **options: Any
) -> torch.Tensor:
    adapter = None if arguments or options else _plain_adapter(module)
    base = module.get_base_layer()
    if adapter is None or not _is_of_one_precision(hidden, base.weight):
        return own(hidden, *arguments, **options)
    dropout = module.lora_dropout[adapter]
    mask = DropoutMask(dropout.p) if isinstance(dropout, nn.Dropout) and dropout.training and dropout.p else None
    output: torch.Tensor = _LoraProduct.apply(  # type: ignore[no-untyped-call]
        hidden,
        base.weight.t() if isinstance(base, nn.Linear) else base.weight,
        base.bias,
        module.lora_A[adapter].weight,
        module.lora_B[adapter].weight,
        module.scaling[adapter],
        mask,
    )
    # a view made here and not inside the operation, so that a model may change it in place (Longformer, LED)
    return output.view(*hidden.shape[:-1], -1)


def _plain_adapter(module: Any) -> str | None:
    """The one adapter of a layer, where it is plain LoRA on a frozen layer, not merged, and switched on."""
    if module.disable_adapters or module.merged or len(module.active_adapters) != 1:
        return None
    adapter: str = module.active_adapters[0]
    is_plain = adapter in module.lora_A and adapter not in module.lora_variant
    if not is_plain or module.lora_A[adapter].bias is not None or module.lora_B[adapter].bias is not None:
        return None
    frozen = not any(parameter.requires_grad for parameter in module.get_base_layer().parameters())
    return adapter if frozen else None


def _is_of_one_precision(hidden: torch.Tensor, weight: torch.Tensor) -> bool:
    if hidden.device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return weight.dtype == torch.get_autocast_dtype("cpu")
    return weight.dtype == hidden.dtype


class _LoraProduct(torch.autograd.Function):
    """x W + s (x A^T) B^T + bias of every row, (R, out), with gradients for x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
        mask: DropoutMask | None,
    ) -> torch.Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1]).to(weight.dtype)
        output = rows @ weight if bias is None else torch.addmm(bias, rows, weight)
        read = rows if mask is None else mask.draw(rows.shape, rows.dtype).mul_(rows)
        narrow = (read @ down.to(rows.dtype).t()).mul_(_factor(scaling, mask))
        output.addmm_(narrow, up.to(rows.dtype).t())
        ctx.save_for_backward(rows, weight, down, up, narrow)
        ctx.scaling, ctx.mask, ctx.shape, ctx.dtype = scaling, mask, hidden.shape, hidden.dtype
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, down, up, narrow = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            mask = None if ctx.mask is None else ctx.mask.again()
            kept = None if mask is None else mask.draw(rows.shape, rows.dtype)
            by_narrow = (gradient @ up.to(rows.dtype)).mul_(_factor(ctx.scaling, mask))
            by_up = gradient.t() @ narrow
            by_down = by_narrow.t() @ (rows if kept is None else rows * kept)
            by_hidden = None
            if ctx.needs_input_grad[0]:
                by_hidden = gradient @ weight.t()
                if kept is None:
                    by_hidden.addmm_(by_narrow, down.to(rows.dtype))
                else:
                    by_hidden += (by_narrow @ down.to(rows.dtype)).mul_(kept)
                by_hidden = by_hidden.view(ctx.shape).to(ctx.dtype)
        return by_hidden, None, None, by_down.to(down.dtype), by_up.to(up.dtype), None, None


def _factor(scaling: float, mask: DropoutMask | None) -> float:
    return scaling if mask is None else scaling * mask.scale
