"""Dropout whose masks are cheap on a processor: sixteen random bits a number, made again from a seed when needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

STEPS = 2**16
"""Probabilities are rounded to a multiple of one in so many: 0.1 becomes 0.10001."""


class DropoutMask:
    """A mask that is drawn again instead of being kept: the same shapes in the same order give the same masks.

    Args:
        probability: with which a number is dropped.
        seed: drawn from torch's global generator where it is not given, so that `torch.manual_seed` decides all, and
            activation checkpointing, which puts the generator's state back, draws the same masks twice.

    Attributes:
        scale: what is kept is multiplied by it, so that the mean stays.

    Example:
        >>> mask = DropoutMask(0.25, seed=1)
        >>> first = mask.draw((2, 3), torch.float32)
        >>> torch.equal(mask.again().draw((2, 3), torch.float32), first), round(mask.scale, 4)
        (True, 1.3333)
    """

    def __init__(self, probability: float, *, seed: int | None = None) -> None:
        self.probability = probability
        self.seed = int(torch.randint(2**62, ()).item()) if seed is None else seed
        self.scale = STEPS / (STEPS - round(probability * STEPS))
        self._generator = torch.Generator().manual_seed(self.seed)

    def again(self) -> DropoutMask:
        """The same masks from the start."""
        return DropoutMask(self.probability, seed=self.seed)

    def draw(self, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """The next mask: 0 where a number is dropped, 1 where it is kept."""
        num_numbers = math.prod(shape)
        # one 64-bit draw serves four numbers; torch's bernoulli_ takes a draw and more for each
        bits = torch.empty((num_numbers + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=self._generator)
        numbers = bits.view(torch.int16)[:num_numbers].view(shape)
        kept = numbers >= round(self.probability * STEPS) - STEPS // 2
        # from bytes the conversion is vectorised, from bool it is not; masked_fill would not be either
        return kept.view(torch.uint8).to(dtype)


class FastDropout(nn.Dropout):
    """nn.Dropout, several times faster in training on a CPU; elsewhere it is nn.Dropout itself."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Drop and scale, (...) -> (...)."""
        if not self.training or not 0 < self.p < 1 or input.device.type != "cpu":
            return super().forward(input)
        dropped: torch.Tensor = _Dropout.apply(input, DropoutMask(self.p))  # type: ignore[no-untyped-call]
        return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, mask: DropoutMask) -> torch.Tensor:
        ctx.mask = mask
        return mask.draw(values.shape, values.dtype).mul_(mask.scale).mul_(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        mask = ctx.mask.again()
        return mask.draw(gradient.shape, gradient.dtype).mul_(mask.scale).mul_(gradient), None


def use_fast_dropout(model: nn.Module) -> int:
    """Replace every nn.Dropout of a model by FastDropout; returns how many."""
    return replace_children(
        model, nn.Dropout, lambda child: FastDropout(child.p, inplace=child.inplace).train(child.training)
    )


def replace_children(model: nn.Module, kind: type[nn.Module], make: Callable[[Any], nn.Module]) -> int:
    """Replace every module of exactly one class in a model by what is made of it; returns how many."""
    found = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if type(child) is kind
    ]
    for module, name, child in found:
        setattr(module, name, make(child))
    return len(found)
