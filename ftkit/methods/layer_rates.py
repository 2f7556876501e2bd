"""Layer-wise learning-rate decay: the deeper a layer lies below the output, the slower it learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.methods.layers import embedding_parameters, layer_stacks

if TYPE_CHECKING:
    import torch

_KEY = "training.layer_lr_decay"


class LayerRates(NamedTuple):
    """Shares of the peak learning rate.

    Attributes:
        factors: id of a parameter -> its share.
        in_words: the range of the rates.
    """

    factors: Mapping[int, float]
    in_words: str


def layer_rates(model: Any, *, decay: float, learning_rate: float) -> LayerRates:
    """The share of the peak rate at which each parameter of a model learns.

    What lies outside the layers, such as the head, learns at the peak; the highest layer at `decay` times the peak,
    each layer below at `decay` times the rate of the one above it, and embeddings slowest of all. An encoder and a
    decoder are counted each from its own top; a head that is the embeddings' matrix learns at their rate.

    Args:
        model: of transformers.
        decay: above 0, at most 1.
        learning_rate: the peak.

    Raises:
        UserError: its layers cannot be told.

    Source:
        Howard and Ruder 2018 (discriminative fine-tuning); Clark et al. 2020 (ELECTRA); Bao et al. 2022 (BEiT), whose
        exponents these are.
    """
    stacks = layer_stacks(model, key=_KEY, fix="remove it")
    tables, deepest = embedding_parameters(model, stacks), max(stack.length for stack in stacks)
    exponents: dict[int, int] = {}
    for name, weight in model.named_parameters():
        exponents[id(weight)] = deepest + 1 if id(weight) in tables else 0
        for stack in stacks:
            if name.startswith(f"{stack.name}."):
                exponents[id(weight)] = stack.length - int(name.removeprefix(f"{stack.name}.").partition(".")[0])
    factors = {one: decay**exponent for one, exponent in exponents.items()}
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    tied = head is not None and id(head.weight) in tables
    rates = [learning_rate * decay**exponent for exponent in (1, deepest, deepest + 1)]
    in_words = (
        f"learning rates by depth ({_KEY}: {decay:g}): {rates[0]:.3g} in the highest layer, {rates[1]:.3g} in the "
        f"lowest of {deepest}, {rates[2]:.3g} for embeddings{' and output head, one matrix' if tied else ''}, "
        f"{learning_rate:.3g} for the rest"
    )
    return LayerRates(factors, in_words)


def set_rates(optimizer: torch.optim.Optimizer, factors: Mapping[int, float]) -> None:
    """Split the groups of an optimizer that has made no step by the rates of their parameters, the highest first.

    Args:
        optimizer: with the peak rate in every group; changed in place.
        factors: id of a parameter -> share of it.
    """
    split: dict[tuple[float, int], dict[str, Any]] = {}
    for number, group in enumerate(optimizer.param_groups):
        for weight in group["params"]:
            factor = factors[id(weight)]
            own = split.setdefault((-factor, number), {**group, "params": [], "lr": group["lr"] * factor})
            own["params"].append(weight)
    optimizer.param_groups.clear()
    for _, group in sorted(split.items()):
        optimizer.add_param_group(group)
