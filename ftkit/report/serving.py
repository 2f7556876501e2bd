"""How vLLM serves a model that writes, as a command, or why it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.errors import typed
from ftkit.models.saved_folder import CHAT_TEMPLATE_FILE, GENERATION_FILE

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that `vllm serve --max-lora-rank` takes."""
DEFAULT_RANK = 16
"""vLLM's own limit where none is named."""


def refusal(settings: Mapping[str, Any]) -> str:
    """Why vLLM does not serve the adapter of an adapter_config.json; empty where it does."""
    if settings.get("peft_type") != "LORA":
        what = "tuned prompts" if "num_virtual_tokens" in settings else f"{settings.get('peft_type')} adapters"
        return f"vllm serves no {what}: peft loads it"
    lacking = [key for key in ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern") if settings.get(key)]
    if not lacking and _rank(settings) is not None:
        return ""
    reason = " or ".join(lacking) or f"a rank above {RANKS[-1]}"
    return f"vllm serves no adapters with {reason}: export it with --merge for that"


def command(settings: Mapping[str, Any], *, name: str, folder: Path, at: str | Path) -> str:
    """The command that serves an adapter, one without a `refusal`, beside its base.

    Args:
        settings: of its adapter_config.json; its base as a user will reach it.
        name: under which it is served.
        folder: of the adapter, read for what lies in it.
        at: the same as a user will reach it.
    """
    rank = _rank(settings)
    assert rank is not None, "ranks above all that vLLM takes are refused"
    words = ["vllm", "serve", settings["base_model_name_or_path"], "--enable-lora"]
    if rank > DEFAULT_RANK:
        words += ["--max-lora-rank", str(rank)]
    # vLLM asks the base what ends an answer, and how a chat is written
    if (folder / GENERATION_FILE).is_file():
        words += ["--generation-config", str(at)]
    if (folder / CHAT_TEMPLATE_FILE).is_file():
        words += ["--chat-template", f"{at}/{CHAT_TEMPLATE_FILE}"]
    return typed(*words, "--lora-modules", f"{name}={at}")


def _rank(settings: Mapping[str, Any]) -> int | None:
    return next((rank for rank in RANKS if rank >= settings["r"]), None)
