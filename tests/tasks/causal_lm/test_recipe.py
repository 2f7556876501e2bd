"""What no single field of a language model's recipe can know."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.errors import RecipeError
from ftkit.tasks.table import read_recipe
from tests.recipe.rule_cases import broken

TEXT = {"task": "causal_lm", "model.name_or_path": "builtin:tiny-gpt2", "data.train_file": "a.txt"}
PAIRS = {**TEXT, "data.train_file": "a.jsonl", "data.prompt_column": "q", "data.completion_column": "a"}
CHATS = {**TEXT, "data.train_file": "a.jsonl", "data.messages_column": "messages"}
TEMPLATE = {**TEXT, "data.train_file": "a.jsonl", "data.template": "'Q: {q}<learn> {a}'"}


@pytest.mark.parametrize("base", [TEXT, PAIRS, CHATS, TEMPLATE])
@pytest.mark.parametrize("method", ["lora", "full", "prompt_tuning"])
def test_the_recipes_that_the_rules_are_tried_on_break_none_and_are_written_out_and_read_back(
    tmp_path: Path, base: dict[str, str], method: str
) -> None:
    assert broken(tmp_path, base, f"method.type={method}") == ""


@pytest.mark.parametrize(
    ("base", "overrides", "problem"),
    [
        (TEXT, ["method.type=frozen"], "no frozen for task causal_lm"),
        (TEXT, ["task=classification", "method.type=prompt_tuning"], "no prompt_tuning for task classification"),
        (TEXT, ["data.label_column=y"], "only tasks classification and seq2seq read it"),
        (TEXT, ["training.class_weights=balanced"], "only task classification reads it"),
        (PAIRS, ["task=classification"], "only task causal_lm reads it"),
        (TEXT, ["evaluation.metrics=[accuracy]"], "accuracy does not measure task causal_lm"),
        (TEXT, ["task=classification", "evaluation.metrics=[perplexity]"], "does not measure task classification"),
        (PAIRS, ["data.text_column=t"], "text_column says already what an example is"),
        (PAIRS, ["data.messages_column=m"], "prompt_column says already what an example is"),
        (TEXT, ["data.prompt_column=q"], "completion_column is missing"),
        (TEXT, ["data.completion_column=q"], "prompt_column is missing"),
        (PAIRS, ["data.completion_column=q"], "it is the prompt_column already"),
        (TEXT, ["data.text_column=t", "data.completion_only_loss=false"], "the whole text is learnt anyway"),
        (PAIRS, ["data.chat_template=plain"], "these examples are no chats"),
        (TEMPLATE, ["data.template='a<learn>b<learn>c'"], "stands there 2 times"),
        (TEMPLATE, ["data.template='a {b}<learn>'"], "nothing follows <learn>"),
        (PAIRS, ["data.document_separator=x"], "only text files have one"),
        (TEXT, ["training.max_tokens_per_batch=64", "training.per_device_train_batch_size=4"], "given as well"),
        (TEXT, ["training.max_tokens_per_batch=64", "data.max_length=128"], "may be longer than that"),
        (TEXT, ["method.type=lora", "method.init_lora_weights=false"], "changes the model before the first step"),
        (TEXT, ["method.type=lora", "method.init_lora_weights=orthogonal", "method.r=3"], "need an even rank"),
        (TEXT, ["method.type=lora", "method.init_lora_weights=pissa", "method.use_dora=true"], "saved as plain ones"),
        (TEXT, ["method.type=lora", "method.init_lora_weights=pissa", "model.dtype=bfloat16"], "only in float32"),
        (TEXT, ["method.type=lora", "method.lora_plus_ratio=4", "training.optim=adafactor"], "LoRA+ runs with adamw"),
        (TEXT, ["method.type=lora", "method.modules_to_save=[]"], "nothing is named"),
        (
            TEXT,
            ["method.type=lora", "method.init_lora_weights=olora", "method.use_dora=true"],
            "olora adapters are saved",
        ),
        (TEXT, ["method.type=lora", "method.rank_pattern={q_proj: 0}"], "must be at least 1"),
        (TEXT, ["method.type=lora", "method.layers_to_transform=[-1]"], "counted from 0"),
        (TEXT, ["method.type=prompt_tuning", "method.prompt_tuning_init=text"], "the text is missing"),
        (TEXT, ["method.type=prompt_tuning", "method.prompt_tuning_init_text=Hi"], "only prompt_tuning_init: text"),
        (TEXT, ["method.type=prompt_tuning", "data.packing=true"], "none can be packed"),
        (TEXT, ["training.metric_for_best_model=accuracy"], "is not chosen by accuracy"),
        (TEXT, ["method.type=full", "model.dtype=bfloat16"], "write training.bf16: true"),
        (TEXT, ["model.attn_implementation=flash_attention_2", "training.use_cpu=true"], "needs a GPU"),
        (PAIRS, ["evaluation.stride=8"], "only texts are scored in windows"),
        (TEXT, ["data.max_length=16", "evaluation.stride=16"], "a window has 16 tokens, and windows overlap"),
        (TEXT, ["data.dataset_name=builtin:pydocs"], "did you mean builtin:pydoc?"),
    ],
)
def test_a_broken_rule_is_reported(tmp_path: Path, base: dict[str, str], overrides: list[str], problem: str) -> None:
    assert problem in broken(tmp_path, base, *overrides)


def test_a_chat_template_in_a_file_is_found_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("{{ messages }}")
    (tmp_path / "a.jsonl").write_text("")
    path = tmp_path / "my.yaml"
    path.write_text(
        "task: causal_lm\nmodel: {name_or_path: 'builtin:tiny-gpt2'}\n"
        "data: {train_file: a.jsonl, messages_column: messages, chat_template: mine.jinja}\n"
    )
    assert read_recipe(path).recipe.data.chat_template == str(tmp_path / "mine.jinja")
    path.write_text(path.read_text().replace("mine.jinja", "mine.jinaj"))
    with pytest.raises(RecipeError, match=r"did you mean mine\.jinja"):
        read_recipe(path)
    path.write_text(path.read_text().replace("mine.jinaj", "plian"))
    with pytest.raises(RecipeError, match=r"did you mean plain\?"):
        read_recipe(path)


def test_the_method_of_a_language_model_is_lora_unless_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "task: causal_lm\nmodel: {name_or_path: 'builtin:tiny-gpt2'}\ndata: {dataset_name: 'builtin:pydoc'}\n"
    )
    assert read_recipe(path).recipe.method.type == "lora"
