"""Where tensors live, how precisely they are computed, and how many there are; Accelerate's choice, said in words."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from ftkit.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Placement(NamedTuple):
    """The device and the precision of what is not trained, with the reason for the user."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def choose_device(*, use_cpu: bool) -> torch.device:
    """CPU, or the accelerator that Accelerate finds.

    Accelerate is asked only where there is an accelerator at all: importing it costs more than fitting a head.
    """
    if use_cpu or not torch.accelerator.is_available():
        return torch.device("cpu")
    from accelerate import PartialState

    device: torch.device = PartialState().device
    return device


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies matrices in bfloat16 itself instead of emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return False


def place(dtype: str, *, use_cpu: bool) -> Placement:
    """Choose device and precision: `model.dtype` and `training.use_cpu` of the recipe.

    Raises:
        UserError: float16 was asked of a CPU, which would only emulate it.
    """
    device = choose_device(use_cpu=use_cpu)
    if dtype == "auto":
        if computes_in_bfloat16(device):
            return Placement(device, torch.bfloat16, f"{device.type}, bfloat16 (the processor computes in it)")
        return Placement(device, torch.float32, f"{device.type}, float32 (no bfloat16 units here)")
    if dtype == "float16" and device.type == "cpu":
        raise UserError(
            "model.dtype is float16, which a CPU only emulates", fix="use auto, bfloat16 or float32 on a CPU"
        )
    return Placement(device, DTYPES[dtype], f"{device.type}, {dtype} (model.dtype)")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on an accelerator or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in str(error) or "out of memory" in str(error).lower()
    )


def keep_cache(model: Any, *, on: bool) -> None:
    """Say whether a model keeps keys and values of what it has read; the part that writes may have its own settings."""
    for config in (model.config, model.config.get_text_config(decoder=True)):
        config.use_cache = on


class ParameterCount(NamedTuple):
    """Parameters of a model, and how many of them are trained."""

    total: int
    trained: int


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count parameters; a tied one counts once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ParameterCount(sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained))
