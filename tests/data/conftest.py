"""The tokenizers of the tiny decoders, one of every family's real kind, made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

DECODERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")


@cache
def tiny_tokenizer(family: str) -> Any:
    from transformers import AutoTokenizer

    from ftkit.models.builtin.builtin import resolve

    return AutoTokenizer.from_pretrained(resolve(f"builtin:tiny-{family}"))


@cache
def sentencepiece_tokenizer() -> Any:
    """Llama 2's kind: a space before the first word, no splitting into words, bytes as fallback, <s> before a text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    singles = [*"abcdehilnorstuw.,", "▁"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a"), ("o", "n"), ("▁", "▁"), ("e", "r"), ("i", "n")]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *singles]
    vocab = {token: index for index, token in enumerate([*tokens, *("".join(pair) for pair in merges)])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[[str], Any]:
    """A tokenizer by the name of its family, or `sentencepiece`."""
    return lambda name: sentencepiece_tokenizer() if name == "sentencepiece" else tiny_tokenizer(name)


@pytest.fixture(params=[*DECODERS, "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest, tokenizer_of: Callable[[str], Any]) -> Any:
    """Each of them."""
    return tokenizer_of(request.param)
