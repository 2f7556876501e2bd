"""What the card of a finetuned language model says: how it is asked, and how it is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Splits
from ftkit.data.prompting import Prompting
from ftkit.models.download import ADAPTER_FILE
from ftkit.models.saved_folder import adapter_settings
from ftkit.report import serving
from ftkit.report.card import CardFacts, Prompt, fenced, plain_facts
from ftkit.report.example import CARD_CHARACTERS, Example, find_example
from ftkit.report.tables import shortened
from ftkit.tasks.causal_lm.recipe import CausalRecipe

ROWS_OF_KIND = {"text": "documents", "completion": "examples", "chat": "chats"}
MEASURED_ON = {"text": "every token", "completion": "the completions", "chat": "the assistant's turns"}
"""What is learnt of each kind of row, where that is not everything, and measured with it."""

PIPELINE = """from transformers import pipeline

generate = pipeline("text-generation", model="{folder}")
"""
PIPELINE_OF_ADAPTER = """from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

model = AutoModelForCausalLM.from_pretrained("{folder}")  # base and adapter, by peft
tokenizer = AutoTokenizer.from_pretrained("{folder}")
generate = pipeline("text-generation", model=model, tokenizer=tokenizer)
"""
ASK = """prompt = {prompt}
print(generate(prompt, max_new_tokens=40, do_sample=False, return_full_text=False)[0]["generated_text"])"""
LEARNT_PROMPT = """from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("{folder}")  # base and prompt
tokenizer = AutoTokenizer.from_pretrained("{folder}")
prompt = {prompt}
inputs = {inputs}
output = model.generate(**inputs, max_new_tokens=40, do_sample=False)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))"""
TEXT_INPUTS = 'tokenizer(prompt, return_tensors="pt")'
CHAT_INPUTS = """tokenizer.apply_chat_template(
    prompt, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)"""


def card_facts(recipe: CausalRecipe, splits: Splits, facts: Mapping[str, Any]) -> CardFacts:
    """How a language model is asked, shown by an example, and what its scores were measured on."""
    prompting = splits.prompting or Prompting("text")
    example = find_example(splits.validation, prompting)
    measured = MEASURED_ON[prompting.kind if prompting.completion_only_loss else "text"]
    return CardFacts(
        pipeline_tag="text-generation",
        what="A language model",
        trained=recipe.method.in_words,
        rows=ROWS_OF_KIND[prompting.kind],
        reads=list(_reading(prompting, example)),
        scored=f"Measured on {measured}; loss in nats a token.",
        over=ROWS_OF_KIND[prompting.kind],
        beside_base=True,
        prompt=example.prompt,
        training=list(plain_facts(facts)),
    )


def loading_lines(folder: Path, *, at: str, name: str, prompt: Prompt) -> str:
    """Python that loads the model and lets it go on with a prompt, and how vLLM serves it."""
    asked = ASK.format(prompt=_literal(prompt))
    if not (folder / ADAPTER_FILE).is_file():
        return f"{PIPELINE.format(folder=at)}{asked}\n\n# served: vllm serve {at}"
    settings = adapter_settings(folder)
    if "num_virtual_tokens" in settings:
        inputs = TEXT_INPUTS if isinstance(prompt, str) else CHAT_INPUTS
        return LEARNT_PROMPT.format(folder=at, prompt=_literal(prompt), inputs=inputs)
    lines = PIPELINE_OF_ADAPTER.format(folder=at) + asked
    if serving.refusal(settings):
        return lines
    has_template = (folder / "chat_template.jinja").is_file()
    return f"{lines}\n\n# served: {serving.command(settings, name=name, folder=at, has_chat_template=has_template)}"


def _reading(prompting: Prompting, example: Example) -> Iterator[str]:
    if prompting.kind == "text":
        yield "Plain text, which it goes on with. A piece of the data:"
    elif prompting.kind == "completion":
        yield from _reading_prompts(prompting, example)
    else:
        yield from _reading_chats(prompting, example)
    if prompting.kind != "text":
        yield "and its answer there:"
    yield fenced(shortened(example.answer, CARD_CHARACTERS))


def _reading_prompts(prompting: Prompting, example: Example) -> Iterator[str]:
    assert prompting.template is not None, "completions have a template"
    columns = ", ".join(f"`{name}`" for name in prompting.prompt_fields)
    learnt = "" if prompting.completion_only_loss else " (the prompt was learnt too)"
    yield (
        f"A prompt is made of {columns} by this template, up to the mark; what follows the mark was learnt, and "
        f"then the end of the text{learnt}:"
    )
    yield fenced(prompting.template)
    yield "A prompt of the data:"
    yield fenced(shortened(str(example.prompt), CARD_CHARACTERS))


def _reading_chats(prompting: Prompting, example: Example) -> Iterator[str]:
    learnt = "the assistant's turns were" if prompting.completion_only_loss else "all turns were"
    yield f"Chats; {learnt} learnt. " + (
        "They are written by the tokenizer's own chat template."
        if prompting.chat_template is None
        else "They are written by this chat template, which is saved with the tokenizer:"
    )
    if prompting.chat_template is not None:
        yield fenced(prompting.chat_template, "jinja")
    yield "The beginning of a chat of the data:"
    assert not isinstance(example.prompt, str), "a chat is cut into messages"
    turns = (f"{turn['role']}: {shortened(turn['content'], CARD_CHARACTERS)}" for turn in example.prompt)
    yield fenced("\n".join(turns))


def _literal(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return json.dumps(prompt, ensure_ascii=False)
    turns = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in prompt)
    return f"[\n{turns}]"
