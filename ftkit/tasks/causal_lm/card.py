"""The README.md of a finetuned language model: how it is asked, how good it is beside its base, how to load it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.recipe.schema import Recipe
from ftkit.report.card import fenced, folder_kind, metadata, training_section
from ftkit.runs.run import Run
from ftkit.version import __version__

EXAMPLE_CHARACTERS = 400
"""Of each part of the example."""
PROMPT_WORDS = 8
"""Words of a plain text that the lines of the card let the model go on with."""
ROWS_SEARCHED = 50
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that `vllm serve --max-lora-rank` takes; 16 is its default."""

METHODS = {"full": "every weight trained", "lora": "a LoRA adapter", "prompt_tuning": "a learnt prompt of vectors"}

PIPELINE = """from transformers import pipeline

generate = pipeline("text-generation", model="{folder}")
"""
ADAPTER = """from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

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


class Example(NamedTuple):
    """One row of the data, cut at the place where the model goes on.

    Attributes:
        prompt: a text, or the messages of a chat up to an answer.
        answer: what follows in the data.
    """

    prompt: str | list[dict[str, str]]
    answer: str


def language_card(
    run: Run, recipe: Recipe, *, splits: Splits, metrics: Mapping[str, Any], facts: Mapping[str, Any]
) -> str:
    """The text of a language model's card, Markdown with the metadata that the hub reads."""
    prompting = splits.prompting or Prompting("text")
    example = find_example(splits.validation, prompting)
    rows = ", ".join(f"{len(split):,} {split.name}" for split in splits.all())
    parts = [
        metadata(recipe, run, pipeline_tag="text-generation"),
        f"# {run.path.name}",
        f"A language model finetuned by ftkit {__version__} from `{recipe.model.name_or_path}`: "
        f"{METHODS[recipe.method.type]} (method `{recipe.method.type}`).",
        f"**Data**: {splits.train.source}; {rows} {_rows(prompting)}.",
        "## What it reads and writes\n\n" + "\n\n".join(_prompting_parts(prompting, example)),
        "## Scores\n\n" + scores_table(metrics),
        _about_scores(recipe, prompting),
        "## How to load it\n\n" + fenced(loading_lines(run, recipe, example), "python"),
        training_section(run, plain_facts(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def find_example(split: Split, prompting: Prompting) -> Example:
    """The shortest example among the first rows: a card is to be read."""
    rows = split.table.slice(0, ROWS_SEARCHED).to_pylist()
    if prompting.kind == "completion":
        row = min(rows, key=lambda row: len(row["prompt"]) + len(row["completion"]))
        return Example(row["prompt"], row["completion"])
    if prompting.kind == "chat":
        return min(map(_cut_chat, rows), key=lambda example: len(json.dumps(example.prompt)))
    text = min((row["text"] for row in rows if row["text"].strip()), key=len).strip()
    words = " ".join(text.split()[:PROMPT_WORDS])
    return Example(words, text)


def _cut_chat(row: Mapping[str, str]) -> Example:
    """A chat up to the first answer that something stands before."""
    messages: list[dict[str, str]] = json.loads(row["messages"])
    answers = (number for number, turn in enumerate(messages) if number and turn["role"] == "assistant")
    first = next(answers, len(messages) - 1)
    before = [{"role": turn["role"], "content": turn.get("content") or ""} for turn in messages[:first]]
    return Example(before, messages[first].get("content") or "")


def _prompting_parts(prompting: Prompting, example: Example) -> Iterator[str]:
    if prompting.kind == "text":
        yield "Plain text, which it goes on with. A piece of the data:"
        yield fenced(_short(example.answer))
        return
    if prompting.kind == "completion":
        assert prompting.template is not None, "completions have a template"
        columns = ", ".join(f"`{name}`" for name in prompting.prompt_fields)
        learnt = "" if prompting.completion_only_loss else " (the prompt was learnt too)"
        yield (
            f"A prompt is made of {columns} by this template, up to the mark; what follows the mark was learnt, and "
            f"then the end of the text{learnt}:"
        )
        yield fenced(prompting.template)
        yield "A prompt of the data:"
        yield fenced(_short(str(example.prompt)))
    else:
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
        yield fenced("\n".join(f"{turn['role']}: {_short(turn['content'])}" for turn in example.prompt))
    yield "and its answer there:"
    yield fenced(_short(example.answer))


def scores_table(metrics: Mapping[str, Any]) -> str:
    """Scores of every split, beside those of the untrained base, as a Markdown table; matrices stay in metrics.json."""
    lines = ["| split | metric | finetuned | 95 % interval | base | texts |", "| --- | --- | --- | --- | --- | --- |"]
    for split, entries in metrics.items():
        if split.startswith("base_"):
            continue
        for name, entry in entries.items():
            if isinstance(entry["value"], list):
                continue
            low, high = entry.get("low"), entry.get("high")
            interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
            base = _number(metrics.get(f"base_{split}", {}).get(name, {}).get("value"))
            lines.append(f"| {split} | {name} | {_number(entry['value'])} | {interval} | {base} | {entry['n']} |")
    return "\n".join(lines)


def _about_scores(recipe: Recipe, prompting: Prompting) -> str:
    what = {"text": "every token", "completion": "the completions", "chat": "the assistant's turns"}[prompting.kind]
    what = what if prompting.completion_only_loss else "every token"
    about = f"Measured on {what}; loss in nats a token. Intervals are 95 % bootstrap intervals over {_rows(prompting)}."
    if recipe.training.load_best_model_at_end:
        about += (
            " The validation set also chose the best checkpoint, so its scores lean to the good side; the test set, "
            "where there is one, did not."
        )
    return about


def loading_lines(run: Run, recipe: Recipe, example: Example) -> str:
    """Python that loads the model and lets it go on with the example's prompt, run beside the model folder."""
    folder, prompt = run.model_dir.name, _literal(example.prompt)
    if recipe.method.type == "prompt_tuning":
        inputs = TEXT_INPUTS if isinstance(example.prompt, str) else CHAT_INPUTS
        return LEARNT_PROMPT.format(folder=folder, prompt=prompt, inputs=inputs)
    load = ADAPTER if folder_kind(run) == "adapter" else PIPELINE
    return load.format(folder=folder) + ASK.format(prompt=prompt) + _served(run)


def _served(run: Run) -> str:
    """How vLLM serves it, as a comment; empty for adapters that it does not take."""
    folder = run.model_dir.name
    if folder_kind(run) == "full":
        return f"\n\n# served: vllm serve {folder}"
    settings = json.loads((run.model_dir / "adapter_config.json").read_text(encoding="utf-8"))
    rank = next((rank for rank in VLLM_RANKS if rank >= settings["r"]), None)
    if settings.get("use_dora") or settings.get("modules_to_save") or rank is None:
        return ""
    more = f" --max-lora-rank {rank}" if rank > 16 else ""
    if (run.model_dir / "chat_template.jinja").is_file():
        # vLLM asks the base's tokenizer, which may have another template or none
        more += f" --chat-template {folder}/chat_template.jinja"
    base = settings["base_model_name_or_path"]
    return f"\n\n# served: vllm serve {base} --enable-lora{more} --lora-modules {run.path.name}={folder}"


def plain_facts(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Numbers and words among facts, those of a part named `part.name`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from plain_facts(value, f"{above}{name}.")
        elif isinstance(value, bool):
            yield above + name, "yes" if value else "no"
        elif isinstance(value, str | int):
            yield above + name, value
        elif isinstance(value, float):
            yield above + name, f"{value:.6g}"


def _literal(prompt: str | list[dict[str, str]]) -> str:
    if isinstance(prompt, str):
        return json.dumps(prompt, ensure_ascii=False)
    turns = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in prompt)
    return f"[\n{turns}]"


def _short(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else text[:EXAMPLE_CHARACTERS] + " ..."


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value < 1e6 else f"{value:.4g}"


def _rows(prompting: Prompting) -> str:
    return {"text": "documents", "completion": "examples", "chat": "chats"}[prompting.kind]
