"""Tiny language models that have been moved off their start, so that their likeliest tokens are not ties."""

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
from ftkit.recipe.schema import LoraMethod, PromptTuningMethod


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
