"""How many parameters a model has, and how many of them are trained."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn


class ParameterCount(NamedTuple):
    """Parameters of a model, and how many of them are trained."""

    total: int
    trained: int


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count parameters; a tied one counts once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ParameterCount(sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained))
