"""A causal language model and its tokenizer, loaded for training: nothing guessed, nothing resized, nothing missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import has_tokenizer
from ftkit.models.families import family_of_config
from ftkit.models.placement import keep_cache
from ftkit.models.reading.pretrained import first_line, read_config, read_tokenizer, read_weights

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DECODER_FAMILIES = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
SEQ2SEQ_FAMILIES = ("t5", "bart")
NAMES_SHOWN = 3
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""Files of a tokenizer of which one holds its words."""
TOKENIZER_PACKAGES = ("sentencepiece", "tiktoken", "fugashi", "sacremoses", "rjieba", "sudachipy", "jieba")
"""Packages that the tokenizers of single languages or architectures need, as an error names them."""
CAUSAL_CLASSES = ("ForCausalLM", "LMHeadModel", "DoubleHeadsModel")
AUTO = "auto"
"""As an attention: the best that an architecture has, PyTorch's own (sdpa) or the one of its own code (eager)."""


def refuse_other_kinds(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that its configuration tells to be no causal language model; reads no weights.

    Raises:
        UserError: it is an encoder, an encoder with a decoder, or reads images or sound, with the task that fits.
    """
    config = checkpoint.config
    what = f"{checkpoint.name} (model_type {config.get('model_type')})"
    family = family_of_config(config)
    named_causal = any(str(name).endswith(CAUSAL_CLASSES) for name in config.get("architectures") or ())
    if config.get("is_encoder_decoder") or (family in SEQ2SEQ_FAMILIES and not named_causal):
        raise UserError(
            f"{what} is an encoder with a decoder, not a causal language model",
            fix="task: causal_lm takes decoders such as GPT-2, OLMo, Llama, Gemma, Qwen or SmolLM; "
            "an encoder with a decoder fits task: seq2seq",
        )
    if any(config.get(part) for part in ("vision_config", "audio_config")):
        raise UserError(
            f"{what} reads images or sound beside text, which ftkit does not train",
            fix="name the checkpoint of text alone of its family",
        )
    # a BERT can be made a decoder; it is one only if its configuration says so
    if family is not None and family not in (*DECODER_FAMILIES, *SEQ2SEQ_FAMILIES) and not config.get("is_decoder"):
        raise UserError(
            f"{what} is an encoder: every token sees the ones after it, so it is no causal language model",
            fix="set task: classification, or name a decoder such as GPT-2, OLMo, Llama, Gemma, Qwen or SmolLM",
        )


def load_tokenizer_for_lm(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a language model.

    It pads on the right, and with its end token where it has no pad token: no token is added, so embeddings keep
    their size. Labels must be masked by position, never by the pad id. A text does not get an end token by itself:
    where a document ends is for the data to say, and a prompt must not end.

    Raises:
        UserError: there is no tokenizer, or it has no end token.
    """
    tokenizer = tokenizer_of_lm(checkpoint, trust_remote_code=trust_remote_code)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer of {checkpoint.name} has no end token, so a model could not learn where to stop",
            where=str(checkpoint.folder),
            fix="name one that the vocabulary holds as eos_token in tokenizer_config.json",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    _leave_texts_open(tokenizer)
    return tokenizer


def _leave_texts_open(tokenizer: Any) -> None:
    """Switch off an end token behind every text; a begin token before it stays as it is."""
    end = tokenizer.eos_token_id
    ids = tokenizer("a")["input_ids"]
    if len(ids) > 1 and ids[-1] == end and hasattr(tokenizer, "add_eos_token"):
        # set before the end token's switch, which rewrites the template of both
        object.__setattr__(tokenizer, "_add_bos_token", ids[0] == tokenizer.bos_token_id)
        tokenizer.add_eos_token = False


def load_causal_lm(
    checkpoint: Checkpoint,
    *,
    dtype: torch.dtype,
    attn_implementation: str = AUTO,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load a causal language model whole, in the precision asked for, without a cache of keys and values.

    `attn_implementation` is `auto`, the best that the architecture has, `sdpa`, `eager` or `flash_attention_2`.

    Raises:
        UserError: the checkpoint is no causal language model, lacks weights of one, or cannot be read.
    """
    from transformers import AutoModelForCausalLM

    refuse_other_kinds(checkpoint)
    return read_model(
        AutoModelForCausalLM,
        checkpoint,
        what="a causal language model",
        dtype=dtype,
        attn_implementation=attn_implementation,
        trust_remote_code=trust_remote_code,
    )


def tokenizer_of_lm(checkpoint: Checkpoint, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a language model of either kind, padding on the right.

    Raises:
        UserError: there is none, or it has no words.
    """
    tokenizer = open_tokenizer(checkpoint, trust_remote_code=trust_remote_code)
    tokenizer.padding_side = "right"
    return tokenizer


def open_tokenizer(checkpoint: Checkpoint, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint of any kind.

    Raises:
        UserError: there is none that can be loaded, or it has no words: transformers makes those of BERT, T5 and BART
            without any where their files are missing.
    """
    try:
        tokenizer = read_tokenizer(checkpoint, trust_remote_code=trust_remote_code)
    except UserError as error:
        if error.fix is not None or error.__cause__ is None:
            raise
        there = has_tokenizer(checkpoint.folder)
        package = next((name for name in TOKENIZER_PACKAGES if there and name in error.problem.lower()), None)
        other = (
            f"name a checkpoint that reads text: the model_type of this one is {checkpoint.config.get('model_type')}"
        )
        fix = f"pip install {package}" if package else f"put its files there, or {other}"
        raise UserError(error.problem, where=error.where, fix=fix) from error
    if not _can_read(tokenizer, checkpoint):
        raise UserError(
            f"{checkpoint.name} has no vocabulary: its tokenizer knows no letter",
            where=str(checkpoint.folder),
            fix="put the tokenizer's files there: tokenizer.json, or spiece.model, or vocab.json and merges.txt",
        )
    added: Any = tokenizer
    plain, special = checkpoint.new_tokens
    if plain:
        added.add_tokens(list(plain))
    if special:
        added.add_special_tokens({"additional_special_tokens": list(special)}, replace_extra_special_tokens=False)
    return tokenizer


def _can_read(tokenizer: Any, checkpoint: Checkpoint) -> bool:
    """Whether a tokenizer has words; one that reads bytes has no file, and one for proteins not every letter."""
    has_file = any((checkpoint.folder / name).is_file() for name in VOCABULARIES)
    return has_file or bool(tokenizer.decode(tokenizer("a")["input_ids"], skip_special_tokens=True).strip())


def read_model(
    auto: Any,
    checkpoint: Checkpoint,
    *,
    what: str,
    attn_implementation: str = AUTO,
    adapt: Callable[[Any], None] = lambda _config: None,
    trust_remote_code: bool,
    **options: Any,
) -> PreTrainedModel:
    """The model of a checkpoint, read whole by a class of transformers with the options of its `from_pretrained`.

    Args:
        what: it is read as, in words.
        attn_implementation: its attention.
        adapt: changes its configuration.

    Raises:
        UserError: it cannot be read, or lacks weights.
    """
    config = read_config(checkpoint, trust_remote_code=trust_remote_code)
    adapt(config)
    options["attn_implementation"] = None if attn_implementation == AUTO else attn_implementation
    try:
        model, missing, _ = read_weights(
            auto, checkpoint, what=what, config=config, trust_remote_code=trust_remote_code, **options
        )
    except UserError as error:
        if (cause := error.__cause__) is None or attn_implementation == AUTO or "attention" not in str(cause).lower():
            raise
        raise UserError(
            f"{checkpoint.name} has no {attn_implementation} attention: {first_line(cause).split('. ')[0]}",
            where=error.where,
            fix="set model.attn_implementation: auto",
        ) from cause
    if missing:
        more = f" and {len(missing) - NAMES_SHOWN} more" if len(missing) > NAMES_SHOWN else ""
        raise UserError(
            f"{checkpoint.name} lacks weights of {what}: {', '.join(missing[:NAMES_SHOWN])}{more}; "
            "they would be random",
            where=str(checkpoint.folder),
            fix="name a checkpoint that was saved with its language-model head",
        )
    # a cache makes packed documents see one another, and costs memory in training
    keep_cache(model, on=False)
    _mend_generation_config(model)
    make_room(model, checkpoint)
    loaded: PreTrainedModel = model
    return loaded


def make_room(model: Any, checkpoint: Checkpoint) -> None:
    """Give a model rows for the tokens that are added to its base, the same ones whenever it is loaded."""
    if any(checkpoint.new_tokens) or checkpoint.adapter is not None:
        grow_embeddings(model, open_tokenizer(checkpoint, trust_remote_code=False))


def grow_embeddings(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add rows until each token has one, drawn around the mean of the others (Hewitt 2021); none are taken away."""
    import torch

    needed = max(tokenizer.get_vocab().values()) + 1
    if needed > int(model.get_input_embeddings().weight.shape[0]):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.resize_token_embeddings(needed)


def _mend_generation_config(model: Any) -> None:
    """Make a generation_config.json that contradicts itself fit to be saved again.

    Some checkpoints name a temperature without do_sample. transformers reads that, but refuses to write it once
    anything else in it has changed, which Trainer does: hours later, at the first save.
    """
    from transformers import GenerationConfig

    make: Any = GenerationConfig
    config = model.generation_config
    if config is None or _is_writable(config):
        return
    config.do_sample = True
    if not _is_writable(config):
        ids = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = make(**ids)


def _is_writable(config: Any) -> bool:
    try:
        config.validate(strict=True)
    except ValueError:
        return False
    return True


def refuse_unknown_tokens(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer with tokens that the model has no embedding for.

    Raises:
        UserError: with both sizes.
    """
    lm: Any = model
    rows = int(lm.get_input_embeddings().weight.shape[0])
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise UserError(
            f"the tokenizer knows token {largest}, but the model has embeddings for {rows} tokens",
            where=str(tokenizer.name_or_path),
            fix="take the tokenizer and the weights of one checkpoint",
        )
