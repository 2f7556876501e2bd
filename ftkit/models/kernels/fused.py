"""The same functions in fewer operations: what most of a training step on a CPU goes to beside its products."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ftkit.models.kernels.chunked_loss import made_up_batch
from ftkit.models.kernels.fast_dropout import replace_children, use_fast_dropout
from ftkit.models.kernels.flat_pairs import WITHOUT_PADDING
from ftkit.models.kernels.fused_lora import use_fused_lora
from ftkit.models.kernels.fused_t5 import use_fused_t5
from ftkit.models.scoring import evaluating

LARGEST_COMPARED = 2**20
"""Numbers of a weight up to which its gradient is compared: those of adapters, norms and biases are."""


def use_fused_operations(model: nn.Module) -> bool:
    """Replace parts of a model by faster ones that compute the same.

    GPT-2's GELU in one operation instead of eight, LoRA layers in one, dropout with cheaper random numbers (the same
    distribution, other draws), T5 without padding and with its norms and feed-forward layers in fewer passes. Weights,
    configuration and what is saved stay as they are. Adapters are attached before.

    Returns False, and leaves the model as it was, where the loss of a made-up batch in eval mode, or its gradients,
    are others with them: an architecture that does more with its parts than is known here.
    """
    before = [(module, dict(vars(module)), dict(module._modules)) for module in model.modules()]
    if not _fuse(model):
        return True
    found = _loss_and_gradients(model)
    for module, own, children in before:
        for name in ("forward", WITHOUT_PADDING):
            vars(module).pop(name, None)
            vars(module).update({name: own[name]} if name in own else {})
        module._modules.update(children)
    if not _agree(_loss_and_gradients(model), found):
        return False
    _fuse(model)
    return True


def _fuse(model: nn.Module) -> int:
    return sum(use(model) for use in (use_fused_gelu, use_fast_dropout, use_fused_lora, use_fused_t5))


def _loss_and_gradients(model: Any) -> list[torch.Tensor]:
    """Of a made-up batch in eval mode; none from code that fails."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    small = [weight for weight in model.parameters() if weight.requires_grad and weight.numel() <= LARGEST_COMPARED]
    try:
        with evaluating(model), torch.set_grad_enabled(bool(small)):
            loss = model(**made_up_batch(base)).loss
            found = torch.autograd.grad(loss, small, allow_unused=True, materialize_grads=True) if small else ()
    except Exception:
        # foreign code fails in any way
        return []
    return [loss.detach(), *found]


def _agree(expected: list[torch.Tensor], found: list[torch.Tensor]) -> bool:
    """Whether there are numbers, as many, and each as near as rounding leaves it to the largest of its kind."""
    coarse = any(torch.finfo(values.dtype).bits < 32 for values in expected)
    precision = 0.125 if coarse else 1e-3
    return len(expected) == len(found) > 0 and all(
        bool((one - other).abs().max() <= precision * one.abs().max())
        for one, other in zip(expected, found, strict=True)
    )


def use_fused_gelu(model: nn.Module) -> int:
    """Replace transformers' `gelu_new`, written out in tensor operations, by torch's GELU; returns how many.

    Source:
        Hendrycks and Gimpel 2016 (GELUs): the approximation by tanh, which both compute.
    """
    from transformers.activations import NewGELUActivation

    return replace_children(model, NewGELUActivation, lambda _child: nn.GELU(approximate="tanh"))
