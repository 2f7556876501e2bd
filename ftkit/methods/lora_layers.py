"""Low-rank adapters put on the layers of a model, so that it computes at first what it did before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ftkit.errors import UserError
from ftkit.methods.lora import FLOAT32_STARTS, TAKEN_OUT, LoraMethod
from ftkit.methods.start import WATCHED, remember_start, task_type_of
from ftkit.methods.targets import (
    AdaptedLayers,
    choose_targets,
    new_modules,
    output_head,
    rank_of,
    refuse_both,
    refuse_idle_patterns,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel


def attach_language_lora(model: PreTrainedModel, method: LoraMethod) -> PeftModel:
    """Put low-rank adapters on the linear layers of a language model.

    Whatever `init_lora_weights`, the model computes at first what it did before: B is zero (`true`, `gaussian`),
    B A is zero (`orthogonal`), or B A is taken out of the layer's own weight (`pissa`, `olora`). Adapters are float32
    whatever the base is. Draws from torch's global generator.

    Args:
        model: changed in place; its weights are frozen.
        method: the recipe's method section.

    Raises:
        UserError: a name fits no module, or the start asked for does not fit the model.

    Source:
        Hu et al. 2021 (LoRA); Kalajdzievski 2023 (rsLoRA); Liu et al. 2024 (DoRA); Meng et al. 2024 (PiSSA);
        Buyukakyuz 2024 (OLoRA).
    """
    return _attach(model, method, choose_targets(model, method, heads=[output_head(model)]), task_type_of(model))


def attach_lora(model: PreTrainedModel, method: LoraMethod, *, new_parameters: Sequence[str]) -> PeftModel:
    """As `attach_language_lora`, on a classifier; modules with new weights are trained whole and saved beside.

    peft saves the classification layer by itself, but not a pooler that the checkpoint lacks: it would be random
    again after a reload. So everything new is named in `modules_to_save` and left out of the adapted layers.

    Args:
        model: the classifier; changed in place.
        method: the recipe's method section.
        new_parameters: names of the parameters that the checkpoint did not bring.

    Raises:
        UserError: as there.
    """
    heads = new_modules(model, new_parameters)
    if any(parameter.is_meta for parameter in model.parameters()):
        method = method.model_copy(update={"init_lora_weights": True})
    layers, whole = choose_targets(model, method, heads=heads)
    refuse_both(layers, heads)
    return _attach(model, method, AdaptedLayers(layers, list(dict.fromkeys((*heads, *whole)))), "SEQ_CLS")


def _attach(model: PreTrainedModel, method: LoraMethod, targets: AdaptedLayers, task_type: str) -> PeftModel:
    from peft import LoraConfig, get_peft_model
    from torch import nn

    layers = {name: model.get_submodule(name) for name in targets.layers}
    for key in ("rank_pattern", "alpha_pattern"):
        refuse_idle_patterns(getattr(method, key), targets.layers, key=f"method.{key}")
    config = LoraConfig(
        task_type=task_type,
        r=method.r,
        lora_alpha=method.lora_alpha,
        lora_dropout=method.lora_dropout,
        target_modules=targets.layers,
        use_rslora=method.use_rslora,
        use_dora=method.use_dora,
        init_lora_weights=method.init_lora_weights,
        rank_pattern=dict(method.rank_pattern),
        alpha_pattern=dict(method.alpha_pattern),
        # peft appends to the list that it is given
        modules_to_save=list(targets.whole) or None,
        fan_in_fan_out=not any(isinstance(layer, nn.Linear) for layer in layers.values()),
    )
    _refuse_start(model, method, layers)
    try:
        adapted: PeftModel = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(
            f"LoRA cannot be attached: {str(error).splitlines()[0]}",
            fix="set method.target_modules: all-linear, or names of linear layers of this model",
        ) from error
    # a set has another order in every process, and with it adapter_config.json
    config.target_modules = sorted(config.target_modules or ())
    remember_start(adapted, (*WATCHED, "lora_A") if method.init_lora_weights in TAKEN_OUT else WATCHED)
    return adapted


def _refuse_start(model: PreTrainedModel, method: LoraMethod, layers: Mapping[str, nn.Module]) -> None:
    import torch
    from torch import nn

    start = method.init_lora_weights
    ranks = {name: rank_of(name, method) for name in layers}
    if start is False:
        raise UserError(
            "method.init_lora_weights: false starts at random, not at the base model",
            fix="use true, gaussian, orthogonal, pissa or olora",
        )
    if start == "orthogonal" and (odd := [rank for rank in ranks.values() if rank % 2]):
        raise UserError(f"method.init_lora_weights: orthogonal needs an even rank, and r is {odd[0]}")
    if start in FLOAT32_STARTS and model.dtype != torch.float32:
        raise UserError(
            f"method.init_lora_weights: {start} starts at the base model only up to rounding, which {model.dtype} "
            "makes too coarse",
            fix="set model.dtype: float32, or init_lora_weights: true",
        )
    if start not in TAKEN_OUT:
        return
    if method.use_dora:
        raise UserError(
            f"method.init_lora_weights: {start} with use_dora cannot be saved as an adapter of the original base",
            fix="use one of the two",
        )
    if start == "olora" and (other := [name for name, layer in layers.items() if not isinstance(layer, nn.Linear)]):
        raise UserError(
            f"method.init_lora_weights: peft's olora decomposes linear layers alone, and {other[0]} is a "
            f"{type(layers[other[0]]).__name__}",
            fix="use pissa",
        )
    for name, layer in layers.items():
        narrow = min(layer.weight.shape)  # type: ignore[arg-type]
        if ranks[name] > narrow:
            what = "singular values" if start == "pissa" else "columns"
            raise UserError(
                f"method.init_lora_weights: {start} has {narrow} {what} to start from, and r is {ranks[name]} ({name})",
                fix=f"set method.r to at most {narrow}",
            )
