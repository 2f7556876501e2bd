"""An encoder with a decoder and its tokenizer, loaded for training: nothing guessed, resized or missing."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.models.causal import AUTO, read_model, tokenizer_of_lm
from ftkit.models.checkpoint import COUNTS_DISTANCES, Checkpoint
from ftkit.models.families import read_object
from ftkit.models.reading.pretrained import read_config

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HALF_PRECISION = "float16 overflows in T5's feed-forward layers, and every loss becomes NaN"
"""Source: huggingface/transformers issues 4586 and 11461."""


FIRST_FROM_TARGETS = ("mbart", "plbart")
"""Architectures whose decoder begins with what ends its target, so that no setting names its first token."""


def refuse_decoders_and_encoders(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that its configuration tells to be no encoder with a decoder; reads no weights.

    Raises:
        UserError: it is a decoder or an encoder alone, or reads images or sound, with the task that fits.
    """
    config = checkpoint.config
    what = f"{checkpoint.name} (model_type {config.get('model_type')})"
    if any(config.get(part) for part in ("vision_config", "audio_config")):
        raise UserError(
            f"{what} reads images or sound, which ftkit does not train", fix="name a checkpoint that reads text"
        )
    if is_seq2seq(checkpoint):
        return
    named = str(config.get("architectures"))
    task = "causal_lm" if "CausalLM" in named or "LMHead" in named else "classification"
    raise UserError(
        f"{what} is no encoder with a decoder",
        fix=f"task: seq2seq takes T5, Flan-T5, mT5, BART and their kin; this checkpoint fits task: {task}",
    )


def is_seq2seq(checkpoint: Checkpoint) -> bool:
    """Whether a configuration is that of an encoder with a decoder.

    T5's and BART's own files need not say so, for their classes are it by nature.
    """
    config = checkpoint.config
    named_causal = any(str(name).endswith("ForCausalLM") for name in config.get("architectures") or ())
    has_both = bool(config.get("encoder_layers") and config.get("decoder_layers")) and not named_causal
    return bool(config.get("is_encoder_decoder") or config.get("model_type") in COUNTS_DISTANCES or has_both)


def refuse_float16(checkpoint: Checkpoint, *, fp16: bool, dtype: str) -> None:
    """Refuse float16 for T5, which it makes useless: training.fp16, or model.dtype.

    Raises:
        UserError: with the key that helps.
    """
    if checkpoint.config.get("model_type") not in COUNTS_DISTANCES:
        return
    if fp16:
        raise UserError(f"training.fp16: {HALF_PRECISION}", fix="write training.bf16: true, which has its range")
    if dtype == "float16":
        raise UserError(f"model.dtype: {HALF_PRECISION}", fix="write model.dtype: bfloat16, or leave it out")


def load_tokenizer_for_seq2seq(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of an encoder-decoder; it pads on the right and sets its own special tokens.

    Raises:
        UserError: there is none, or it has no vocabulary, no end or no pad token.
    """
    tokenizer = tokenizer_of_lm(checkpoint, trust_remote_code=trust_remote_code)
    for name in ("eos_token", "pad_token"):
        if getattr(tokenizer, f"{name}_id") is None:
            raise UserError(
                f"the tokenizer of {checkpoint.name} has no {name}, which an encoder-decoder needs",
                where=str(checkpoint.folder),
                fix=f"name one that the vocabulary holds as {name} in tokenizer_config.json",
            )
    return tokenizer


def load_seq2seq(
    checkpoint: Checkpoint,
    *,
    dtype: torch.dtype,
    attn_implementation: str = AUTO,
    dropout: bool = True,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load an encoder-decoder whole, in the precision asked for, without a cache of keys and values.

    `attn_implementation` is `auto`, the best that the architecture has, `sdpa` or `eager`; no dropout anywhere is for
    a base that is not trained.

    Raises:
        UserError: the checkpoint is no encoder-decoder, lacks weights of one, or cannot be read.
    """
    from transformers import AutoModelForSeq2SeqLM

    refuse_decoders_and_encoders(checkpoint)
    model: Any = read_model(
        AutoModelForSeq2SeqLM,
        checkpoint,
        what="an encoder-decoder",
        adapt=lambda config: _adapt(config, checkpoint, dropout=dropout),
        dtype=dtype,
        attn_implementation=attn_implementation,
        trust_remote_code=trust_remote_code,
    )
    if model.generation_config.decoder_start_token_id is None:
        model.generation_config.decoder_start_token_id = getattr(model.config, "decoder_start_token_id", None)
    look_at_all_from_the_first(model)
    loaded: PreTrainedModel = model
    return loaded


def look_at_all_from_the_first(model: PreTrainedModel) -> None:
    """Let the first token of a source look at all others, and they at it, where the others see a window each (LED).

    transformers leaves that to whoever calls the model; one that names the tokens itself is obeyed.

    Source:
        Beltagy et al. 2020 (Longformer), on summaries of arXiv papers with LED.
    """
    encoder: Any = model.get_encoder()
    if "global_attention_mask" in inspect.signature(encoder.forward).parameters:
        encoder.register_forward_pre_hook(_with_global_first_token, with_kwargs=True)


def _with_global_first_token(
    _encoder: Any, args: tuple[Any, ...], asked: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if asked.get("global_attention_mask") is not None:
        return args, asked
    tokens = next(
        given for given in (*args[:1], asked.get("input_ids"), asked.get("inputs_embeds")) if given is not None
    )
    mask = tokens.new_zeros(tokens.shape[:2], dtype=int)
    mask[:, 0] = 1
    return args, asked | {"global_attention_mask": mask}


def refuse_without_first_token(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> None:
    """Refuse a checkpoint of which nothing tells what its decoder begins with; reads no weights.

    Raises:
        UserError: with the entry that its config.json lacks.
    """
    _settle_first_token(read_config(checkpoint, trust_remote_code=trust_remote_code), checkpoint)


def _settle_first_token(config: Any, checkpoint: Checkpoint) -> None:
    """Where config.json names no first token, that of generation_config.json, or T5's padding, is meant."""
    kind = str(config.model_type)
    lacks = "pad_token_id" if getattr(config, "pad_token_id", None) is None else ""
    if getattr(config, "decoder_start_token_id", None) is None and kind not in FIRST_FROM_TARGETS:
        own = read_object(checkpoint.folder / "generation_config.json").get("decoder_start_token_id")
        config.decoder_start_token_id = config.pad_token_id if own is None and kind in COUNTS_DISTANCES else own
        lacks = "decoder_start_token_id" if config.decoder_start_token_id is None else lacks
    if lacks:
        raise UserError(
            f"{checkpoint.name} does not say what its decoder begins with: its config.json has no {lacks}",
            where=str(checkpoint.folder / "config.json"),
            fix=f"add {lacks}; the first token is the end token's id in BART's kin, that of [CLS] in a pair of BERTs",
        )


def _adapt(config: Any, checkpoint: Checkpoint, *, dropout: bool) -> None:
    _settle_first_token(config, checkpoint)
    if not dropout:
        _leave_out_dropout(config)


def _leave_out_dropout(config: Any) -> None:
    """Layers that are skipped at random included."""
    for name, value in vars(config).items():
        if isinstance(value, float) and ("dropout" in name or "layerdrop" in name):
            setattr(config, name, 0.0)


def hash_of_frozen(model: PreTrainedModel | PeftModel) -> str:
    """SHA-256 over the names and bytes of all parameters that are not trained: the same before and after a run."""
    import torch

    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().reshape(-1).cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()
