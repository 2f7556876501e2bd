"""Tiny language models, tuned for a few steps so that nothing about them is zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.methods.lora import LoraMethod, attach_language_lora
from ftkit.methods.prefix_tuning import PrefixTuningMethod, attach_prefix_tuning
from ftkit.methods.prompt_tuning import PromptTuningMethod, attach_prompt_tuning
from ftkit.models.builtin.builtin import resolve
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.merging import probe_tokens
from ftkit.models.saved_lm import save_language_model
from ftkit.models.seq2seq import load_seq2seq, load_tokenizer_for_seq2seq

TOKENS = probe_tokens(700)

PAIRS = ("t5", "bart")
"""Encoder-decoders; the other families are decoders."""


def tiny(family: str) -> Checkpoint:
    return Checkpoint(f"builtin:tiny-{family}", Path(resolve(f"builtin:tiny-{family}")))


def tune(model: Any, *, steps: int = 2) -> None:
    """A few steps of AdamW on random tokens."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        model(input_ids=TOKENS, labels=TOKENS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def tokenizer_of(family: str) -> Any:
    load = load_tokenizer_for_seq2seq if family in PAIRS else load_tokenizer_for_lm
    return load(tiny(family))


def with_method(model: Any, family: str, kind: str, **settings: Any) -> Any:
    """A model with what the method adds."""
    if kind == "lora":
        return attach_language_lora(model, LoraMethod(type="lora", **settings))
    if kind == "prompt_tuning":
        method = PromptTuningMethod(type="prompt_tuning", **settings)
        return attach_prompt_tuning(model, method, tokenizer_of(family))
    if kind == "prefix_tuning":
        return attach_prefix_tuning(model, PrefixTuningMethod(type="prefix_tuning", **settings))
    return model


def attached(family: str, kind: str = "lora", **settings: Any) -> Any:
    """A tiny model with what the method adds, before any step, in eval mode."""
    torch.manual_seed(0)
    load = load_seq2seq if family in PAIRS else load_causal_lm
    model: Any = load(tiny(family), dtype=torch.float32)
    return with_method(model, family, kind, **settings).eval()


@pytest.fixture
def attach() -> Callable[..., Any]:
    """Load a tiny model and put an adapter on it."""
    return attached


@pytest.fixture
def adapt() -> Callable[..., Any]:
    """Put an adapter on a model that is there."""
    return with_method


@pytest.fixture
def take_steps() -> Callable[..., None]:
    """Train for a few steps."""
    return tune


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Tune a tiny model and write it as a run does; gives the folder and the model."""

    def make(family: str, kind: str = "lora", **settings: Any) -> tuple[Path, Any]:
        model = attached(family, kind, **settings)
        tune(model)
        folder = tmp_path / f"{family}-{kind}"
        save_language_model(model, folder, base_name=str(tiny(family).folder))
        tokenizer_of(family).save_pretrained(folder)
        return folder, model

    return make
