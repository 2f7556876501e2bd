"""Where adapters began, and which of them training has not moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

WATCHED = ("lora_B", "lora_magnitude_vector", "prompt_encoder", "ia3_l")
"""Adapter tensors that every training moves with its first step."""

START = "ftkit_adapter_start"
"""Attribute of the peft model: adapter tensors as they started, on the CPU, where zeros do not say it."""


def remember_start(model: PeftModel, parts: tuple[str, ...]) -> None:
    """Keep adapter tensors as they are now, where they are not all zero.

    Args:
        model: with adapters just attached.
        parts: of the names of the tensors.
    """
    start = {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if any(part in name for part in parts) and not parameter.is_meta and bool(parameter.detach().any())
    }
    setattr(model, START, start)


def adapter_start(model: PeftModel) -> dict[str, torch.Tensor]:
    """Adapter tensors as they were attached, by parameter name, on the CPU; those that started at zero left out."""
    start: dict[str, torch.Tensor] = getattr(model, START, {})
    return start


def unmoved_adapters(model: PeftModel) -> list[str]:
    """Names of adapter tensors that training must have moved and that are exactly as they started.

    These are every LoRA B, DoRA's magnitudes and the prompt. After two steps with a learning rate above zero there
    is none, unless a layer takes no part in the loss.

    Returns:
        Names of the modules without peft's own prefixes: `model.layers.0.self_attn.q_proj.lora_B`.
    """
    start = adapter_start(model)
    still = []
    for name, parameter in model.named_parameters():
        if not any(part in name for part in WATCHED):
            continue
        now = parameter.detach().cpu()
        unmoved = now.equal(start[name]) if name in start else not bool(now.any())
        if unmoved:
            still.append(name.removeprefix("base_model.model.").replace(".default", "").removesuffix(".weight"))
    return still


def task_type_of(model: PreTrainedModel) -> str:
    """What peft calls a model of this kind."""
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
