"""The card of a language model: its lines run as they stand, and it says how the model is asked."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from ftkit.commands.train import write_model_card
from ftkit.data.chat.templates import CHAT_TEMPLATES
from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.methods.lora import LoraMethod
from ftkit.methods.lora_layers import attach_language_lora
from ftkit.methods.prompt_tuning import PromptTuningMethod, attach_prompt_tuning
from ftkit.models.builtin.builtin import resolve
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.merging import answer, largest_difference, probe_tokens
from ftkit.models.saved_lm import save_language_model
from ftkit.recipe.dump import dump_recipe
from ftkit.report.card import card_text
from ftkit.report.example import find_example
from ftkit.report.terminal import metrics_lines
from ftkit.runs import folder as runs
from ftkit.runs.run import Run
from ftkit.tasks.causal_lm.card import loading_lines
from ftkit.tasks.table import read_recipe
from tests.fixtures.tiers import slow, slow_but

PLAIN = CHAT_TEMPLATES["plain"]
TURNS = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": 'How far is the "pier"?'},
    {"role": "assistant", "content": "Two miles."},
    {"role": "user", "content": "And back?"},
    {"role": "assistant", "content": "The same."},
]
ROWS: dict[str, list[dict[str, str]]] = {
    "text": [{"text": "The ferry calls on Tuesdays and Fridays, and brings flour, paper and paint."}],
    "completion": [{"prompt": "Q: How far is it?\nA:", "completion": " Two miles."}],
    "chat": [{"messages": json.dumps(TURNS)}],
}
PROMPTINGS = {
    "text": Prompting("text"),
    "completion": Prompting("completion", "Q: {question}\nA:<learn> {answer}"),
    "chat": Prompting("chat", chat_template=PLAIN),
}
ENTRY = {"value": 12.5, "low": 11.0, "high": 14.25, "n": 3, "num_targets": 99}
METRICS = {"validation": {"perplexity": ENTRY}, "base_validation": {"perplexity": ENTRY | {"value": 40.125}}}


def splits_of(kind: str, rows: list[dict[str, str]] | None = None) -> Splits:
    table = pa.Table.from_pylist(rows or ROWS[kind])
    train, validation = (Split(name, table, "harbour.jsonl") for name in ("train", "validation"))
    return Splits(train, validation, None, (), (), (), PROMPTINGS[kind])


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., tuple[Run, str]]:
    """Save a tiny model as a run does and write its card; gives the run and the card."""

    def make(kind: str, method: str, *, metrics: Any = METRICS, shown: bool = True, **settings: Any) -> tuple[Run, str]:
        base = Checkpoint("builtin:tiny-llama", Path(resolve("builtin:tiny-llama")))
        model: Any = load_causal_lm(base, dtype=torch.float32)
        tokenizer: Any = load_tokenizer_for_lm(base)
        if method == "lora":
            model = attach_language_lora(model, LoraMethod(type="lora", **settings))
        if method == "prompt_tuning":
            model = attach_prompt_tuning(model, PromptTuningMethod(type="prompt_tuning"), tokenizer)
        recipe = read_recipe(
            tmp_path / "r.yaml",
            text="task: causal_lm\nmodel: {name_or_path: 'builtin:tiny-llama'}\n"
            f"method: {{type: {method}}}\n"
            f"data: {{train_file: harbour.jsonl, example_in_card: {str(shown).lower()}}}\n",
            check_files=False,
        ).recipe
        run = runs.create(tmp_path / "harbour", overwrite=True, recipe_text=dump_recipe(recipe), manifest={})
        save_language_model(model, run.model_dir, base_name=str(base.folder))
        if kind == "chat":
            tokenizer.chat_template = PLAIN
        tokenizer.save_pretrained(run.model_dir)
        facts = {"placement": "cpu", "packing": True, "fit": {"num_steps": 2, "best_score": 0.25}, "list": [1]}
        write_model_card(run, recipe, splits=splits_of(kind), metrics=metrics, facts=facts)
        return run, (run.model_dir / "README.md").read_text(encoding="utf-8")

    return make


def code_of(card: str) -> str:
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    return block.group(1)


@pytest.mark.parametrize(
    ("kind", "method"),
    slow_but(
        [("text", "full"), ("completion", "prompt_tuning"), ("chat", "lora")],
        product(["text", "completion", "chat"], ["full", "lora", "prompt_tuning"]),
    ),
)
def test_the_lines_of_the_card_load_the_model_and_let_it_answer(
    card: Callable[..., tuple[Run, str]], kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, text = card(kind, method)
    monkeypatch.chdir(run.path)
    said, names = io.StringIO(), dict[str, Any]()
    with contextlib.redirect_stdout(said):
        exec(compile(code_of(text), "card", "exec"), names)
    assert len(said.getvalue()) > 20, "a random model writes something, if not words"
    expected = {"text": "The ferry calls on Tuesdays and Fridays, and", "completion": "Q: How far is it?\nA:"}
    assert names["prompt"] == expected.get(kind, TURNS[:2])


@pytest.mark.parametrize("kind", ["text", "completion", "chat"])
def test_no_row_of_the_data_is_shown_but_by_the_recipes_word(
    kind: str, card: Callable[..., tuple[Run, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ROWS[kind][0] if kind != "chat" else {turn["role"]: turn["content"] for turn in TURNS[:3]}
    pieces = [part.strip() for text in rows.values() for part in text.split("\n")]
    _, text = card(kind, "full")
    assert all(piece.removeprefix("Q: ") in text for piece in pieces)
    assert "widget:\n- " in text
    run, text = card(kind, "full", shown=False)
    told = text + (run.model_dir / "card.json").read_text(encoding="utf-8")
    assert not [piece for piece in pieces if len(piece) > 5 and piece.removeprefix("Q: ") in told]
    assert "widget" not in text
    monkeypatch.chdir(run.path)
    exec(compile(code_of(text), "card", "exec"), {"print": lambda *_: None})


def run_lines(folder: Path) -> tuple[str, dict[str, Any]]:
    """What the lines of a card print about a folder, and what they leave behind."""
    said, names = io.StringIO(), dict[str, Any]()
    lines = loading_lines(folder, at=str(folder), name="harbour", prompt="The ferry calls on")
    with contextlib.redirect_stdout(said):
        exec(compile(lines, "card", "exec"), names)
    return said.getvalue().removesuffix("\n"), names


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lora", {}),
        ("lora", {"use_dora": True}),
        slow("lora", {"use_rslora": True}),
        ("lora", {"init_lora_weights": "pissa"}),
        slow("lora", {"init_lora_weights": "orthogonal"}),
        ("lora", {"modules_to_save": ["model.norm"]}),
        ("ia3", {}),
        ("prompt_tuning", {}),
    ],
)
def test_the_lines_of_the_card_load_the_very_model_that_was_trained(
    method: str, settings: dict[str, Any], saved: Callable[..., tuple[Path, Any]]
) -> None:
    folder, model = saved("llama", method, **settings)
    _, names = run_lines(folder)
    expected, found = (answer(each, {"input_ids": probe_tokens(700)}) for each in (model, names["model"]))
    assert largest_difference(found, expected) <= 1e-4


@pytest.mark.parametrize("method", ["full", "lora", "ia3", "prompt_tuning"])
def test_the_lines_of_the_card_stop_where_the_model_was_taught_to_stop(
    method: str, saved: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    folder, model = saved("llama", method)
    tokenizer: Any = load_tokenizer_for_lm(Checkpoint("saved", folder))
    prompt = tokenizer("The ferry calls on", return_tensors="pt")
    model.config.use_cache = True
    new = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt.input_ids.shape[1] :].tolist()
    last = next(place for place in range(2, len(new)) if new[place] not in new[:place])
    base = str(resolve("builtin:tiny-llama"))
    save_language_model(model, tmp_path / "ending", base_name=base, stop_ids={new[last]})
    tokenizer.save_pretrained(tmp_path / "ending")
    assert run_lines(tmp_path / "ending")[0] == tokenizer.decode(new[: last + 1], skip_special_tokens=True)


def test_the_card_says_how_a_prompt_is_made_and_shows_one(card: Callable[..., tuple[Run, str]]) -> None:
    _, text = card("completion", "lora")
    assert "```text\nQ: {question}\nA:<learn> {answer}\n```" in text
    assert "A prompt is made of `question`" in text
    assert "```text\nQ: How far is it?\nA:\n```" in text
    assert "```text\n Two miles.\n```" in text


def test_the_card_of_a_chat_shows_its_template_and_the_turns_before_an_answer(
    card: Callable[..., tuple[Run, str]],
) -> None:
    _, text = card("chat", "full")
    assert PLAIN.rstrip("\n") in text
    assert 'system: You are brief.\nuser: How far is the "pier"?\n' in text
    assert "```text\nTwo miles.\n```" in text


def test_scores_stand_beside_those_of_the_base(card: Callable[..., tuple[Run, str]]) -> None:
    _, text = card("text", "lora")
    assert "| validation | perplexity | 12.5000 | 11.0000 to 14.2500 | 40.1250 | 3 |" in text
    assert "base_validation" not in text
    lines = list(metrics_lines(METRICS))
    assert lines == [
        "validation (3 texts, 99 tokens predicted)",
        "  perplexity     12.5000  95 % 11.0000 to 14.2500  base 40.1250",
    ]


def test_what_is_to_be_said_of_every_score_is_said_once() -> None:
    entry = ENTRY | {"low": None, "high": None, "n": 1, "note": "a single text"}
    lines = list(metrics_lines({"test": {"loss": entry, "perplexity": entry}}))
    assert lines[0] == "test (1 text, 99 tokens predicted): a single text"
    assert [line.split() for line in lines[1:]] == [["loss", "12.5000"], ["perplexity", "12.5000"]]
    lines = list(metrics_lines({"test": {"loss": entry, "perplexity": ENTRY}}))
    assert [line.endswith("a single text") for line in lines] == [False, True, False]


def test_a_score_without_a_value_is_left_empty_in_the_card_and_explained_on_the_terminal(
    card: Callable[..., tuple[Run, str]],
) -> None:
    undefined = ENTRY | {"value": None, "low": None, "high": None, "reason": "too large"}
    metrics = {"validation": {"perplexity": undefined}, "base_validation": {"perplexity": undefined}}
    _, text = card("text", "full", metrics=metrics)
    assert "| validation | perplexity |  |  |  | 3 |" in text
    assert list(metrics_lines(metrics))[1] == "  perplexity     undefined: too large"


def test_facts_and_recipe_are_in_the_card(card: Callable[..., tuple[Run, str]]) -> None:
    run, text = card("text", "lora")
    for line in ("- placement: cpu", "- packing: yes", "- fit.num_steps: 2", "- fit.best_score: 0.25"):
        assert f"{line}\n" in text
    assert re.sub(": /.*/", ": ", run.recipe_file.read_text(encoding="utf-8")) in text
    assert "pipeline_tag: text-generation\n" in text
    assert "library_name: peft\n" in text


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({"r": 8}, "--enable-lora --lora-modules harbour=model"),
        ({"r": 24}, "--enable-lora --max-lora-rank 32 --lora-modules harbour=model"),
        ({"use_dora": True}, None),
    ],
)
def test_vllm_is_named_for_the_adapters_that_it_serves(
    card: Callable[..., tuple[Run, str]], settings: dict[str, Any], served: str | None
) -> None:
    _, text = card("text", "lora", **settings)
    if served is None:
        assert "vllm serve" not in text
    else:
        assert re.search(r"# served: vllm serve PATH/TO/tiny-llama\S+ " + re.escape(served), text)


def test_a_served_chat_gets_the_template_that_it_was_trained_with(card: Callable[..., tuple[Run, str]]) -> None:
    run, text = card("chat", "lora")
    assert " --chat-template model/chat_template.jinja " in text
    assert (run.model_dir / "chat_template.jinja").is_file()


def test_an_example_with_fences_of_its_own_stays_one_block(
    card: Callable[..., tuple[Run, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROWS, "text", [{"text": "Write\n```python\nprint()\n```\nand run it."}])
    _, text = card("text", "full")
    assert "````text\nWrite\n```python\nprint()\n```\nand run it.\n````" in text


def test_a_chat_that_begins_with_an_answer_is_cut_before_the_next_one() -> None:
    greeting = [{"role": "assistant", "content": "Welcome."}, *TURNS[1:3]]
    example = find_example(splits_of("chat", [{"messages": json.dumps(greeting)}]).validation, PROMPTINGS["chat"])
    assert example == (greeting[:2], "Two miles.")


def test_what_a_template_was_told_is_told_again_in_the_lines_of_the_card(tmp_path: Path) -> None:
    told = Prompting("chat", chat_template_kwargs={"enable_thinking": False}, system="Be brief.")
    (tmp_path / "prompting.json").write_text(json.dumps(told.to_dict()))
    lines = loading_lines(tmp_path, at="here", name="here", prompt=[{"role": "user", "content": "Hi"}])
    assert "tokenizer_encode_kwargs={'enable_thinking': False}" in lines
    reads = card_text("tasks/causal_lm/reads.md.jinja", prompting=told, example=None)
    assert 'was told `{"enable_thinking": false}`' in reads
    assert "Be brief." in reads
