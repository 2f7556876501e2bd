"""Tiny language models that have been moved off their start, so that their likeliest tokens are not ties."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit.methods.lora import LoraMethod
from ftkit.methods.lora_layers import attach_language_lora
from ftkit.methods.prefix_tuning import PrefixTuningMethod, attach_prefix_tuning
from ftkit.methods.prompt_tuning import PromptTuningMethod, attach_prompt_tuning
from ftkit.models.builtin.builtin import resolve
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.seq2seq import load_seq2seq, load_tokenizer_for_seq2seq


@pytest.fixture(scope="session")
def tiny_lm() -> Callable[..., tuple[Any, Any]]:
    """Model and tokenizer by family and method, each made once."""
    made: dict[tuple[str, str], tuple[Any, Any]] = {}

    def make(family: str, kind: str = "full") -> tuple[Any, Any]:
        if (family, kind) not in made:
            checkpoint = Checkpoint(family, Path(resolve(f"builtin:tiny-{family}")))
            tokenizer = load_tokenizer_for_lm(checkpoint)
            torch.manual_seed(0)
            model: Any = load_causal_lm(checkpoint, dtype=torch.float32)
            if kind == "lora":
                model = attach_language_lora(model, LoraMethod(type="lora"))
            if kind == "prompt_tuning":
                method = PromptTuningMethod(type="prompt_tuning", num_virtual_tokens=4)
                model = attach_prompt_tuning(model, method, tokenizer)
            for parameter in model.parameters():
                if parameter.requires_grad and kind != "full":
                    torch.nn.init.normal_(parameter, std=0.1)
            made[family, kind] = model.eval(), tokenizer
        return made[family, kind]

    return make


@pytest.fixture(scope="session")
def tiny_pairs() -> Callable[..., tuple[Any, Any]]:
    """As `tiny_lm`, encoder-decoders; what they write depends on what they read."""
    made: dict[tuple[str, str], tuple[Any, Any]] = {}

    def make(family: str, kind: str = "full") -> tuple[Any, Any]:
        if (family, kind) not in made:
            checkpoint = Checkpoint(family, Path(resolve(f"builtin:tiny-{family}")))
            tokenizer = load_tokenizer_for_seq2seq(checkpoint)
            torch.manual_seed(0)
            model: Any = load_seq2seq(checkpoint, dtype=torch.float32)
            model.config.use_cache = True
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if parameter.ndim == 2 and "shared" not in name and "embed_positions" not in name:
                        parameter.mul_(2)
            if kind == "lora":
                model = attach_language_lora(model, LoraMethod(type="lora"))
            if kind == "prompt_tuning":
                prompt = PromptTuningMethod(type="prompt_tuning", num_virtual_tokens=4)
                model = attach_prompt_tuning(model, prompt, tokenizer)
            if kind == "prefix_tuning":
                model = attach_prefix_tuning(model, PrefixTuningMethod(type="prefix_tuning", num_virtual_tokens=4))
            for parameter in model.parameters():
                if parameter.requires_grad and kind != "full":
                    torch.nn.init.normal_(parameter, std=1.0 if kind == "prefix_tuning" else 0.1)
            made[family, kind] = model.eval(), tokenizer
        return made[family, kind]

    return make


@pytest.fixture
def silence(capfd: pytest.CaptureFixture[str]) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A block in which no library warns or writes to stderr, whatever was imported, made or said before it."""

    @contextlib.contextmanager
    def block() -> Iterator[None]:
        capfd.readouterr()
        before = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_warning()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                yield
        finally:
            transformers.logging.set_verbosity(before)
        assert capfd.readouterr().err == ""

    return block
