"""What the card of a finetuned language model says: how it is asked, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.data.audit import NOUNS
from ftkit.data.dataset import Splits
from ftkit.data.prompting import Prompting
from ftkit.errors import typed
from ftkit.methods.adapter_folder import ADAPTER_FILE, adapter_settings
from ftkit.models.families import read_object
from ftkit.models.saved_folder import GENERATION_FILE, PROMPTING_FILE
from ftkit.report import serving
from ftkit.report.card import CardFacts, Prompt, card_text, plain_facts
from ftkit.report.example import find_example, made_up_prompt
from ftkit.tasks.causal_lm.recipe import CausalRecipe

MEASURED_ON = {"text": "every token", "completion": "the completions", "chat": "the assistant's turns"}
"""What is learnt of each kind of row, where that is not everything, and measured with it."""


def card_facts(recipe: CausalRecipe, splits: Splits, facts: Mapping[str, Any]) -> CardFacts:
    """How a language model is asked and what its scores were measured on."""
    prompting = splits.prompting or Prompting("text")
    example = find_example(splits.validation, prompting) if recipe.data.example_in_card else None
    parts = {MEASURED_ON[one.kind if one.completion_only_loss else "text"] for one in splits.promptings or [prompting]}
    measured, rows = "what is learnt of each source", "examples"
    if len(parts) == 1:
        measured, rows = parts.pop(), f"{NOUNS[prompting.kind]}s"
    if recipe.evaluation.stride is not None:
        measured += f", in windows of {facts['max_length']:,} tokens that advance by {recipe.evaluation.stride:,}"
    return CardFacts(
        pipeline_tag="text-generation",
        what="A language model",
        trained=recipe.trained_in_words(),
        rows=rows,
        reads=card_text("tasks/causal_lm/reads.md.jinja", prompting=prompting, example=example),
        scored=f"Measured on {measured}; loss in nats a token.",
        over=rows,
        beside_base=True,
        prompt=example.prompt if example else made_up_prompt(prompting),
        shows_row=example is not None,
        training=list(plain_facts(facts)),
    )


def loading_lines(folder: Path, *, at: str, name: str, prompt: Prompt) -> str:
    """Python that loads the model and lets it go on with a prompt, and how vLLM serves it."""
    is_adapter = (folder / ADAPTER_FILE).is_file()
    settings = adapter_settings(folder) if is_adapter else {}
    served = typed("vllm", "serve", at)
    if is_adapter:
        base = Path(settings["base_model_name_or_path"])
        reached = settings | ({"base_model_name_or_path": f"PATH/TO/{base.name}"} if base.is_absolute() else {})
        served = "" if serving.refusal(settings) else serving.command(reached, name=name, folder=folder, at=at)
    return card_text(
        "tasks/causal_lm/loading.jinja",
        at=at,
        prompt=prompt,
        is_adapter=is_adapter,
        ends=(folder / GENERATION_FILE).is_file(),
        served=served,
        # as Python writes it
        told=repr(told) if (told := read_object(folder / PROMPTING_FILE).get("chat_template_kwargs")) else "",
    )
