"""Which layers of a language model get adapters, and which modules are trained whole: names checked before anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.errors import UserError
from ftkit.methods.layers import layer_stacks

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from ftkit.methods.lora import LoraMethod


MAMBA = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")
"""Architectures whose `out_proj` has no adapter. Source: peft's check of LoRA's target modules."""


class AdaptedLayers(NamedTuple):
    """Full names of the layers that get an adapter, and of the modules that are trained whole instead."""

    layers: list[str]
    whole: list[str]


def choose_targets(model: PreTrainedModel, method: LoraMethod, *, heads: Sequence[str]) -> AdaptedLayers:
    """Resolve the names of a recipe against the modules of a model.

    `all-linear` is every linear layer outside the heads, as in peft (Dettmers et al. 2023, QLoRA, adapt them all).
    peft itself passes over a name that fits nothing as long as another fits; here each must fit.

    Args:
        model: of any kind.
        method: the recipe's method section.
        heads: modules that give the logits, or are new.

    Raises:
        UserError: a name fits no module, a layer's number is too high, or a module shares its weights with another.
    """
    linear = linear_layers(model)
    modules = [name for name, module in model.named_modules() if name and any(True for _ in module.parameters())]
    tied = tied_modules(model)
    whole = resolve(method.modules_to_save or (), modules, key="method.modules_to_save", tied=tied)
    if method.target_modules == "all-linear":
        outside = [*whole, *heads]
        chosen = [name for name in linear if not any(is_inside(name, module) for module in outside)]
    else:
        chosen = resolve(method.target_modules, linear, key="method.target_modules", tied=tied)
        refuse_both(chosen, whole)
    if method.layers_to_transform is not None:
        chosen = _in_layers(model, chosen, method.layers_to_transform)
    if not chosen:
        raise UserError("no linear layer is left for an adapter", fix="name fewer modules in method.modules_to_save")
    return AdaptedLayers(chosen, whole)


def linear_layers(model: nn.Module) -> list[str]:
    """Full names of every linear layer that can have an adapter; GPT-2's are called Conv1D."""
    return [name for name, module in model.named_modules() if _is_product(module) and not _is_of_mamba(model, name)]


def _is_product(module: nn.Module) -> bool:
    """Whether a module multiplies by a matrix: a router of experts may be made from a linear layer, and give more."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if type(module).forward in (nn.Linear.forward, Conv1D.forward):
        return True
    if not isinstance(module, nn.Linear):
        return False
    weight = module.weight
    try:
        with torch.no_grad():
            found = module(torch.zeros(1, module.in_features, dtype=weight.dtype, device=weight.device))
    except Exception:
        # foreign code fails in any way
        return False
    return isinstance(found, torch.Tensor) and found.shape == (1, module.out_features)


def _is_of_mamba(model: Any, name: str) -> bool:
    """Whether a fused kernel reads the layer's weight by itself, past any adapter, so that peft refuses it."""
    return name.endswith("out_proj") and getattr(model, "config", None) is not None and model.config.model_type in MAMBA


def output_head(model: PreTrainedModel) -> str:
    """Full name of the layer that gives the logits."""
    lm: Any = model
    head = lm.get_output_embeddings()
    name: str = next(name for name, module in model.named_modules() if module is head)
    return name


def tied_modules(model: PreTrainedModel) -> list[str]:
    """Full names of the output head and the embeddings where they share one matrix; else none.

    Of a model without an output head: of all modules that share a matrix with another.
    """
    lm: Any = model
    head = lm.get_output_embeddings()
    if head is None:
        owners: dict[int, list[str]] = {}
        for name, module in model.named_modules():
            for weight in module.parameters(recurse=False):
                owners.setdefault(id(weight), []).append(name)
        return [name for names in owners.values() if len(names) > 1 for name in names]
    embeddings = lm.get_input_embeddings()
    if head.weight is not embeddings.weight:
        return []
    return [name for name, module in model.named_modules() if module is head or module is embeddings]


def is_inside(name: str, module: str) -> bool:
    """Whether a module is the other, or lies in it."""
    return name == module or name.startswith(f"{module}.")


def fits(name: str, asked: str) -> bool:
    """Whether a recipe's name means a module: its full name, or the end of it from a dot on, as peft reads it."""
    return name == asked or name.endswith(f".{asked}")


def resolve(asked: Iterable[str], names: Sequence[str], *, key: str, tied: Sequence[str] = ()) -> list[str]:
    """Full names of the modules that a recipe names.

    Args:
        asked: names as peft reads them.
        names: full names that there are.
        key: of the recipe, for messages.
        tied: modules that share their weights, which cannot be meant.

    Raises:
        UserError: a name fits no module, or one that shares its weights.
    """
    found: dict[str, None] = {}
    for word in asked:
        fitting = [name for name in names if fits(name, word)]
        if not fitting:
            raise unknown_name(word, names, key=key)
        if shared := [name for name in fitting if any(is_inside(other, name) for other in tied)]:
            raise UserError(
                f"{key}: {word} is {shared[0]}, and this model's output head and embeddings share one matrix "
                f"({' and '.join(tied)}); trained apart they could not be merged or saved as one model",
                fix="leave it out, or set method.type: full",
            )
        found |= dict.fromkeys(fitting)
    return list(found)


def unknown_name(word: str, names: Sequence[str], *, key: str) -> UserError:
    """The error of a name that fits no module; says which was meant, and what there is."""
    from rapidfuzz import fuzz, process

    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
    ends = [end for end in ends if not end.isdigit()]
    near = process.extractOne(word.rpartition(".")[2], ends, scorer=fuzz.ratio, score_cutoff=60)
    hint = f"did you mean {near[0]}? " if near else ""
    return UserError(f"{key}: this model has no {word}", fix=f"{hint}names here: {', '.join(ends)}")


def refuse_both(chosen: Sequence[str], whole: Sequence[str]) -> None:
    """Refuse layers that would get an adapter and lie in a module that is trained whole.

    Raises:
        UserError: there is one.
    """
    for name in chosen:
        if any(is_inside(name, module) for module in whole):
            raise UserError(
                f"{name} would get an adapter and be trained whole",
                fix="name it in method.target_modules or in method.modules_to_save, not in both",
            )


def _in_layers(model: PreTrainedModel, names: Sequence[str], layers: Sequence[int]) -> list[str]:
    chosen: list[str] = []
    key = "method.layers_to_transform"
    for stack in layer_stacks(model, key=key, fix="remove it, or name layers in method.target_modules"):
        if wrong := [layer for layer in layers if not 0 <= layer < stack.length]:
            raise UserError(f"{key}: there is no layer {wrong[0]}", fix=stack.numbers)
        chosen += [stack.layer(layer) for layer in layers]
    return [name for name in names if any(is_inside(name, layer) for layer in chosen)]


def rank_of(layer: str, method: LoraMethod) -> int:
    """Rank of the adapter of a layer, by its full name, as peft reads the patterns."""
    from peft.utils.other import get_pattern_key

    key = get_pattern_key(list(method.rank_pattern), layer)
    return method.rank_pattern.get(key, method.r)


def refuse_idle_patterns(patterns: Iterable[str], layers: Sequence[str], *, key: str) -> None:
    """Refuse a pattern of ranks or scales that fits no layer with an adapter.

    Raises:
        UserError: it fits none, or is no regular expression.
    """
    from peft.utils.other import get_pattern_key

    for pattern in patterns:
        try:
            fits_one = any(get_pattern_key([pattern], layer) == pattern for layer in layers)
        except re.error as error:
            raise UserError(f"{key}: {pattern} is no regular expression: {error}") from error
        if not fits_one:
            raise unknown_name(pattern, layers, key=key)


def new_modules(model: nn.Module, new_parameters: Sequence[str]) -> list[str]:
    """The modules in which every weight is new, as short as their names stay unambiguous.

    Args:
        model: the classifier.
        new_parameters: names of the parameters that its checkpoint did not bring.

    Returns:
        Names of the highest modules that hold no parameter of the checkpoint (`classifier`, `bert.pooler`).
    """
    new = set(new_parameters)
    found: list[str] = []
    for name, module in model.named_modules():
        inside = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        if name and inside and new.issuperset(inside) and not any(name.startswith(f"{above}.") for above in found):
            found.append(name)
    return found
