"""method.type: prefix_tuning: keys and values before those of every layer of a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from ftkit.methods.section import MethodSection, Trains

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PREFIX_SCALE = 0.02
"""Deviation of a prefix's first numbers: small beside keys and values, so that a run begins near its base."""


class PrefixTuningMethod(MethodSection):
    """Keys and values before those of every layer are trained (Li and Liang 2021); the base stays untouched."""

    trains: ClassVar[Trains] = "prompt"
    in_words: ClassVar[str] = "learnt keys and values before those of the decoder"
    peft_type: ClassVar[str] = "PREFIX_TUNING"
    unmergeable: ClassVar[str] = "a tuned prefix"

    type: Literal["prefix_tuning"]
    """prefix_tuning: train keys and values that the decoder attends to in every layer."""

    num_virtual_tokens: int = Field(default=20, ge=1)
    """Length of the prefix in tokens."""

    @property
    def output_tokens(self) -> int:
        """The prefix stands before what the decoder writes."""
        return self.num_virtual_tokens

    def attach(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PeftModel:  # noqa: ARG002
        """Put trainable keys and values before those of every layer of the decoder."""
        return attach_prefix_tuning(model, self)

    def vectors(self, model: Any) -> int:
        """Keys and values of every layer that peft makes them for."""
        shape = decoder_shape(model.config)
        return self.num_virtual_tokens * 2 * prefix_layers(shape.num_layers) * shape.num_heads * shape.head_size


def attach_prefix_tuning(model: PreTrainedModel, method: PrefixTuningMethod) -> PeftModel:
    """Put trainable keys and values before those that every layer of the decoder attends to among its own outputs.

    They start as small random numbers. Draws from torch's global generator.

    Args:
        model: an encoder-decoder; changed in place; its weights are frozen.
        method: the recipe's method section.

    Source:
        Li and Liang 2021, Prefix-Tuning, without the reparametrisation by a second network.
    """
    import torch
    from peft import PrefixTuningConfig, get_peft_model

    from ftkit.methods.start import WATCHED, remember_start, task_type_of

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
    remember_start(adapted, WATCHED)
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
