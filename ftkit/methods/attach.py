"""LoRA, prompt tuning and prefix tuning of a language model: attached at the base, and watched.

Decoders and encoder-decoders alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from ftkit.errors import UserError
from ftkit.methods.targets import choose_targets
from ftkit.recipe.schema import LoraMethod, PrefixTuningMethod, PromptTuningMethod

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_TOKENS_SAMPLED = 1024
"""Embeddings from which the size of a random prompt's numbers is told."""

WATCHED = ("lora_B", "lora_magnitude_vector", "prompt_encoder")
"""Adapter tensors that every training moves with its first step."""

PREFIX_SCALE = 0.02
"""Deviation of a prefix's first numbers: small beside keys and values, so that a run begins near its base."""

START = "ftkit_adapter_start"
"""Attribute of the peft model: adapter tensors as they started, on the CPU, where zeros do not say it."""


def attach_language_lora(model: PreTrainedModel, method: LoraMethod) -> PeftModel:
    """Put low-rank adapters on the linear layers of a language model.

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
        task_type=task_type_of(model),
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
    """Put a trainable prompt before every input of a language model: before what the encoder reads, where there is one.

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
        task_type=task_type_of(model),
        num_virtual_tokens=method.num_virtual_tokens,
        prompt_tuning_init="RANDOM",
        # peft's own two would be a prompt for the decoder as well, which nothing ever reads
        num_transformer_submodules=1,
    )
    adapted: PeftModel = get_peft_model(model, config)
    prompt: Any = adapted.prompt_encoder["default"]
    with torch.no_grad():
        prompt.embedding.weight.copy_(start)
    _remember_start(adapted, WATCHED)
    return adapted


def attach_prefix_tuning(model: PreTrainedModel, method: PrefixTuningMethod) -> PeftModel:
    """Put trainable keys and values before those that every layer of the decoder attends to among its own outputs.

    They start as small random numbers. Draws from torch's global generator.

    Args:
        model: an encoder-decoder; changed in place; its weights are frozen.
        method: the recipe's method section.

    Source:
        Li and Liang 2021, Prefix-Tuning, without the reparametrisation by a second network.
    """
    from peft import PrefixTuningConfig, get_peft_model

    decoder = decoder_shape(model.config)
    config = PrefixTuningConfig(
        task_type=task_type_of(model),
        num_virtual_tokens=method.num_virtual_tokens,
        num_layers=prefix_layers(decoder.num_layers),
        num_attention_heads=decoder.num_heads,
        # peft would take the model's width, which is not that of all heads in Flan-T5 and mT5
        token_dim=decoder.num_heads * decoder.head_size,
        num_transformer_submodules=2,
    )
    adapted: PeftModel = get_peft_model(model, config)
    prefix: Any = adapted.prompt_encoder["default"]
    with torch.no_grad():
        prefix.embedding.weight.normal_(std=PREFIX_SCALE)
    _remember_start(adapted, WATCHED)
    return adapted


class DecoderShape(NamedTuple):
    """Sizes of a decoder's attention."""

    num_layers: int
    num_heads: int
    head_size: int


def decoder_shape(config: Any) -> DecoderShape:
    """Sizes of the decoder of an encoder-decoder: T5 names them in its way, BART and its kin in theirs."""
    layers = getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", config.num_hidden_layers)
    heads = getattr(config, "decoder_attention_heads", None) or config.num_attention_heads
    return DecoderShape(layers, heads, getattr(config, "d_kv", config.hidden_size // heads))


def prefix_layers(num_layers: int) -> int:
    """Layers that peft is told a decoder has, so that each of its layers gets a prefix of its own.

    peft lays the keys and values of all layers end to end, twice over, and deals them out in fours: keys and values of
    layer i are entries 4 i and 4 i + 1 of 2 n, counted round; the other two of each four are made for the attention to
    the source and thrown away. For an odd n every entry is read by one layer. For an even n half of them would be read
    by nobody and the others by two layers each; with n + 1 one pair of n + 1 is left over.

    Example:
        >>> [len({4 * layer % (2 * prefix_layers(n)) for layer in range(n)}) for n in (1, 2, 5, 6)]
        [1, 2, 5, 6]
    """
    return num_layers if num_layers % 2 else num_layers + 1


def task_type_of(model: PreTrainedModel) -> str:
    """What peft calls a model of this kind."""
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


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
