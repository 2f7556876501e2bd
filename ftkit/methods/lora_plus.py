"""LoRA+: the two matrices of an adapter learn at different rates."""

from __future__ import annotations

from typing import Any

from torch import nn


def loraplus_parameter_groups(
    model: nn.Module, *, learning_rate: float, ratio: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Groups for an optimizer in which every LoRA B learns `ratio` times as fast as everything else that is trained.

    Weight decay spares biases and the scales of norms, as HF Trainer's does.

    Args:
        model: its trainable parameters are grouped.
        learning_rate: of A, of DoRA's magnitudes and of modules that are trained whole.
        ratio: B's learning rate over A's; at least 1.
        weight_decay: AdamW's.

    Returns:
        Groups with `params`, `lr` and `weight_decay`, none of them empty.

    Source:
        Hayou et al. 2024, LoRA+: Efficient Low Rank Adaptation of Large Models.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = ("lora_B" in name or "lora_embedding_B" in name, parameter.ndim > 1)
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (ratio if is_b else 1.0),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (is_b, decays), parameters in groups.items()
    ]
