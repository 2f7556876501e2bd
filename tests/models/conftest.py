"""Tiny language models, tuned for a few steps so that nothing about them is zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.models.builtin import resolve
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.language_adapters import attach_language_lora, attach_prompt_tuning
from ftkit.models.merging import probe_tokens
from ftkit.models.saved_lm import save_language_model
from ftkit.recipe.schema import LoraMethod, PromptTuningMethod

TOKENS = probe_tokens(700)


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


def attached(family: str, kind: str = "lora", **settings: Any) -> Any:
    """A tiny model with what the method adds, before any step, in eval mode."""
    torch.manual_seed(0)
    model: Any = load_causal_lm(tiny(family), dtype=torch.float32)
    if kind == "lora":
        model = attach_language_lora(model, LoraMethod(type="lora", **settings))
    if kind == "prompt_tuning":
        method = PromptTuningMethod(type="prompt_tuning", **settings)
        model = attach_prompt_tuning(model, method, load_tokenizer_for_lm(tiny(family)))
    return model.eval()


@pytest.fixture
def attach() -> Callable[..., Any]:
    """Load a tiny model and put an adapter on it."""
    return attached


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
        load_tokenizer_for_lm(tiny(family)).save_pretrained(folder)
        return folder, model

    return make
