"""LoRA and prompt tuning of a causal language model: attached so that training starts at the base, and watched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ftkit.errors import UserError
from ftkit.models.adapter_targets import choose_targets
from ftkit.recipe.schema import LoraMethod, PromptTuningMethod

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_TOKENS_SAMPLED = 1024
"""Embeddings from which the size of a random prompt's numbers is told."""

WATCHED = ("lora_B", "lora_magnitude_vector", "prompt_encoder")
"""Adapter tensors that every training moves with its first step."""

START = "ftkit_adapter_start"
"""Attribute of the peft model: adapter tensors as they started, on the CPU, where zeros do not say it."""


def attach_causal_lora(model: PreTrainedModel, method: LoraMethod) -> PeftModel:
    """Put low-rank adapters on the linear layers of a causal language model.

    Whatever `init_lora_weights`, the model computes at first what it did before: B is zero (`true`, `gaussian`),
    B A is zero (`orthogonal`), or B A is taken out of the layer's own weight (`pissa`). Adapters are float32
    whatever the base is. Draws from torch's global generator.

    Args:
        model: changed in place; its weights are frozen.
        method: the recipe's method section.

    Raises:
        UserError: a name fits no module, or the start asked for does not fit the model.

    Source:
        Hu et al. 2021 (LoRA); Kalajdzievski 2023 (rsLoRA); Liu et al. 2024 (DoRA); Meng et al. 2024 (PiSSA).
    """
    from peft import LoraConfig, get_peft_model

    targets = choose_targets(model, method)
    layers = [model.get_submodule(name) for name in targets.layers]
    _refuse_start(model, method, layers)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=method.r,
        lora_alpha=method.lora_alpha,
        lora_dropout=method.lora_dropout,
        target_modules=targets.layers,
        use_rslora=method.use_rslora,
        use_dora=method.use_dora,
        init_lora_weights=method.init_lora_weights,
        # peft appends to the list that it is given
        modules_to_save=list(targets.whole) or None,
        fan_in_fan_out=not any(isinstance(layer, nn.Linear) for layer in layers),
    )
    try:
        adapted: PeftModel = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"LoRA cannot be attached: {str(error).splitlines()[0]}") from error
    # a set has another order in every process, and with it adapter_config.json
    config.target_modules = sorted(config.target_modules or ())
    remembered = (*WATCHED, "lora_A") if method.init_lora_weights == "pissa" else WATCHED
    _remember_start(adapted, remembered)
    return adapted


def _refuse_start(model: PreTrainedModel, method: LoraMethod, layers: list[nn.Module]) -> None:
    start = method.init_lora_weights
    if start is False:
        raise UserError(
            "method.init_lora_weights: false starts at random, not at the base model",
            fix="use true, gaussian, orthogonal or pissa",
        )
    if start == "orthogonal" and method.r % 2:
        raise UserError(f"method.init_lora_weights: orthogonal needs an even rank, and r is {method.r}")
    if start in ("orthogonal", "pissa") and model.dtype != torch.float32:
        raise UserError(
            f"method.init_lora_weights: {start} starts at the base model only up to rounding, which {model.dtype} "
            "makes too coarse",
            fix="set model.dtype: float32, or init_lora_weights: true",
        )
    if start == "pissa":
        if method.use_dora:
            raise UserError(
                "method.init_lora_weights: pissa with use_dora cannot be saved as an adapter of the original base",
                fix="use one of the two",
            )
        narrowest = min(min(layer.weight.shape) for layer in layers)  # type: ignore[arg-type]
        if method.r > narrowest:
            raise UserError(
                f"method.init_lora_weights: pissa has {narrowest} singular values to start from, and r is {method.r}",
                fix=f"set method.r to at most {narrowest}",
            )


def attach_prompt_tuning(
    model: PreTrainedModel, method: PromptTuningMethod, tokenizer: PreTrainedTokenizerBase
) -> PeftModel:
    """Put a trainable prompt before every input of a causal language model.

    `random` draws normal numbers of the size of the model's own embeddings (peft's are of size 1, tens of times that);
    `vocab` takes the embeddings of random tokens; `text` those of the text's tokens, begin token included if the
    tokenizer puts one, repeated or cut to num_virtual_tokens as peft does. Draws from torch's global generator.

    Args:
        model: changed in place; its weights are frozen.
        method: the recipe's method section.
        tokenizer: of the model.

    Raises:
        UserError: the text of prompt_tuning_init_text is missing or has no tokens.

    Source:
        Lester et al. 2021, The Power of Scale for Parameter-Efficient Prompt Tuning.
    """
    from peft import PromptTuningConfig, get_peft_model

    start = _prompt_start(model, method, tokenizer)
    # always RANDOM for peft: for a text it would load the tokenizer again, by a name, here and at every reload
    config = PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=method.num_virtual_tokens, prompt_tuning_init="RANDOM"
    )
    adapted: PeftModel = get_peft_model(model, config)
    prompt: Any = adapted.prompt_encoder["default"]
    with torch.no_grad():
        prompt.embedding.weight.copy_(start)
    _remember_start(adapted, WATCHED)
    return adapted


def _prompt_start(
    model: PreTrainedModel, method: PromptTuningMethod, tokenizer: PreTrainedTokenizerBase
) -> torch.Tensor:
    """First vectors of the prompt (num_virtual_tokens, D), float32."""
    embeddings: Any = model.get_input_embeddings()
    length, device = method.num_virtual_tokens, embeddings.weight.device
    if method.prompt_tuning_init == "text":
        ids = _text_ids(method.prompt_tuning_init_text, length, tokenizer).to(device)
    else:
        drawn = length if method.prompt_tuning_init == "vocab" else NUM_TOKENS_SAMPLED
        ids = torch.randint(0, len(tokenizer), (drawn,)).to(device)
    # through the module, not its weight: Gemma scales what it looks up
    with torch.no_grad():
        vectors: torch.Tensor = embeddings(ids).float()
    return torch.randn(length, vectors.shape[1]).to(device) * vectors.std() if drawn_at_random(method) else vectors


def drawn_at_random(method: PromptTuningMethod) -> bool:
    """Whether the prompt starts as numbers, not as tokens."""
    return method.prompt_tuning_init == "random"


def _text_ids(text: str | None, length: int, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    ids = list(tokenizer(text)["input_ids"]) if text else []
    if not ids:
        raise UserError(
            "method.prompt_tuning_init is text, and method.prompt_tuning_init_text has none",
            fix="write what the prompt should start as, for example 'Summarize the following text.'",
        )
    return torch.tensor((ids * math.ceil(length / len(ids)))[:length])


def _remember_start(model: PeftModel, parts: tuple[str, ...]) -> None:
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
        unmoved = torch.equal(now, start[name]) if name in start else not bool(now.any())
        if unmoved:
            still.append(name.removeprefix("base_model.model.").replace(".default", "").removesuffix(".weight"))
    return still
