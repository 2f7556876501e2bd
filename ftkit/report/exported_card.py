"""What is said of an exported model: its card, and how it is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.tasks.causal_lm.card import ADAPTER, PIPELINE, VLLM_RANKS
from ftkit.tasks.seq2seq import card as seq2seq_card

DEFAULT_RANK = 16
"""vLLM's own limit where none is named."""


def card_of_export(card: str, *, name: str, pipeline_tag: str, made: str) -> str:
    """The card of a model that was written anew.

    Args:
        card: of the run's model; anything else is replaced by a head and a title.
        name: of the new folder.
        pipeline_tag: of the hub.
        made: what was done, one sentence.
    """
    if "ftkit" not in card:
        head = f"---\nlibrary_name: transformers\npipeline_tag: {pipeline_tag}\ntags: [ftkit]\n---"
        return f"{head}\n\n# {name}\n\n{made}\n"
    text = card.replace("library_name: peft", "library_name: transformers", 1)
    text = text.replace(ADAPTER.format(folder="model"), PIPELINE.format(folder=name))
    text = text.replace(PIPELINE.format(folder="model"), PIPELINE.format(folder=name))
    for loading in (seq2seq_card.ADAPTER, seq2seq_card.WHOLE):
        text = text.replace(loading.format(folder="model"), seq2seq_card.WHOLE.format(folder=name))
    text = text.replace('.from_pretrained("model")', f'.from_pretrained("{name}")')
    lines = [f"# served: vllm serve {name}" if line.startswith("# served: ") else line for line in text.splitlines()]
    title = next((place for place, line in enumerate(lines) if line.startswith("# ")), 0)
    return "\n".join([*lines[: title + 1], "", made, *lines[title + 1 :]]) + "\n"


def how_to_serve(settings: Mapping[str, Any], *, base: str, folder: Path, has_chat_template: bool) -> str:
    """The command with which vLLM serves an adapter, or why it does not.

    Args:
        settings: adapter_config.json.
        base: name or folder of its base.
        folder: of the adapter.
        has_chat_template: whether one lies in it.
    """
    if settings.get("peft_type") != "LORA":
        return "vllm serves no tuned prompts: peft loads it"
    lacking = [key for key in ("use_dora", "modules_to_save") if settings.get(key)]
    rank = next((rank for rank in VLLM_RANKS if rank >= settings["r"]), None)
    if lacking or rank is None:
        reason = " or ".join(lacking) or f"a rank above {VLLM_RANKS[-1]}"
        return f"vllm serves no adapters with {reason}: export it with --merge for that"
    more = f" --max-lora-rank {rank}" if rank > DEFAULT_RANK else ""
    if has_chat_template:
        # vLLM asks the base's tokenizer, which may have another template or none
        more += f" --chat-template {folder}/chat_template.jinja"
    return f"served: vllm serve {base} --enable-lora{more} --lora-modules {folder.name}={folder}"
