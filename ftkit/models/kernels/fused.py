"""The same functions in fewer operations: what most of a training step on a CPU goes to beside its products."""

from __future__ import annotations

from torch import nn

from ftkit.models.kernels.fast_dropout import replace_children, use_fast_dropout
from ftkit.models.kernels.fused_lora import use_fused_lora
from ftkit.models.kernels.fused_t5 import use_fused_t5


def use_fused_operations(model: nn.Module) -> None:
    """Replace parts of a model by faster ones that compute the same.

    GPT-2's GELU in one operation instead of eight, LoRA layers in one, dropout with cheaper random numbers (the same
    distribution, other draws), T5 without padding and with its norms and feed-forward layers in fewer passes. Weights,
    configuration and what is saved stay as they are. Adapters are attached before.
    """
    use_fused_gelu(model)
    use_fast_dropout(model)
    use_fused_lora(model)
    use_fused_t5(model)


def use_fused_gelu(model: nn.Module) -> int:
    """Replace transformers' `gelu_new`, written out in tensor operations, by torch's GELU; returns how many.

    Source:
        Hendrycks and Gimpel 2016 (GELUs): the approximation by tanh, which both compute.
    """
    from transformers.activations import NewGELUActivation

    return replace_children(model, NewGELUActivation, lambda _child: nn.GELU(approximate="tanh"))
