"""The card of an encoder-decoder: its lines run as they stand and write what was measured; it says what is read."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import GenerationConfig

from ftkit.commands.export import write_card_anew
from ftkit.commands.train import write_model_card
from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.outputs import settings_of_the_model, write_outputs
from ftkit.models.builtin.builtin import resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.saved_lm import save_language_model
from ftkit.models.seq2seq import load_seq2seq, load_tokenizer_for_seq2seq
from ftkit.recipe.dump import dump_recipe
from ftkit.report.terminal import metrics_lines
from ftkit.runs import folder as runs
from ftkit.runs.run import Run
from ftkit.tasks.table import read_recipe
from tests.fixtures.architectures import make_checkpoint
from tests.fixtures.tiers import slow

SOURCE = 'Where is the "pier"?\nSay: „there“ {or not}.'
ROWS = [
    {"prompt": SOURCE + " And so on, and on.", "completion": "There."},
    {"prompt": SOURCE, "completion": "By the sea."},
]
ENTRY = {"value": 12.5, "low": 11.0, "high": 14.25, "n": 2}
LOSS = ENTRY | {"num_targets": 9, "n": 3}
METRICS = {
    "validation": {"loss": LOSS, "bleu": ENTRY, "confusion": ENTRY | {"value": [[1, 2], [3, 4]]}},
    "base_validation": {"loss": LOSS, "bleu": ENTRY | {"value": 0.25}},
}
DECODING = Decoding(max_new_tokens=9, num_beams=2, no_repeat_ngram_size=1)


def splits(label_names: tuple[str, ...] = ()) -> Splits:
    train, validation = (Split(name, pa.Table.from_pylist(ROWS), "harbour.jsonl") for name in ("train", "validation"))
    return Splits(train, validation, None, label_names, (), (), Prompting("completion", "{question}<learn>{answer}"))


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., tuple[Run, str, Any]]:
    """Save a tiny model as a run does and write its card; gives the run, the card and the model."""

    def make(
        family: str, method: str, *, keys: str = "", label_names: tuple[str, ...] = (), **of_method: Any
    ) -> tuple[Run, str, Any]:
        base = Checkpoint(family, made_of_led(tmp_path) if family == "led" else Path(resolve(f"builtin:tiny-{family}")))
        tokenizer = load_tokenizer_for_seq2seq(base)
        torch.manual_seed(0)
        recipe: Any = read_recipe(
            tmp_path / "r.yaml",
            text=f"task: seq2seq\nmodel: {{name_or_path: {json.dumps(str(base.folder))}}}\n"
            f"method: {json.dumps({'type': method, **of_method})}\n"
            f"data: {{train_file: harbour.jsonl, example_in_card: true}}\n{keys}",
            check_files=False,
        ).recipe
        model = recipe.method.attach(load_seq2seq(base, dtype=torch.float32), tokenizer)
        for parameter in model.parameters():
            if parameter.requires_grad and method != "full":
                torch.nn.init.normal_(parameter, std=0.1)
        run = runs.create(tmp_path / "harbour", recipe_text=dump_recipe(recipe), manifest={})
        settings: GenerationConfig = DECODING.generation_config(
            stop_ids={tokenizer.eos_token_id},
            pad_id=tokenizer.pad_token_id,
            max_new_tokens=DECODING.max_new_tokens,
            **settings_of_the_model(model),
        )
        before = model.generation_config
        save_language_model(model, run.model_dir, base_name=str(base.folder), generation=settings)
        model.generation_config = before
        tokenizer.save_pretrained(run.model_dir)
        facts = {"placement": "cpu", "tokens": {"train": {"targets_cut": 0}}, "fit": {"num_steps": 2}}
        write_model_card(run, recipe, splits=splits(label_names), metrics=METRICS, facts=facts)
        return run, (run.model_dir / "README.md").read_text(encoding="utf-8"), model

    return make


def made_of_led(folder: Path) -> Path:
    """A tiny LED, whose tokens see a window each but for those that are named."""
    (folder / "led").mkdir()
    assert make_checkpoint("seq2seq", "led", folder / "led")
    return folder / "led"


def said_by(card: str) -> str:
    """What the Python of a card prints."""
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    said, names = io.StringIO(), dict[str, Any]()
    with contextlib.redirect_stdout(said):
        exec(compile(block.group(1), "card", "exec"), names)
    return said.getvalue()


@pytest.mark.parametrize(
    ("method", "settings", "family"),
    [
        slow("full", {}, "t5"),
        ("full", {}, "bart"),
        slow("lora", {}, "t5"),
        slow("lora", {}, "bart"),
        ("lora", {"use_dora": True, "use_rslora": True}, "t5"),
        slow("lora", {"use_dora": True, "use_rslora": True}, "bart"),
        slow("lora", {"init_lora_weights": "pissa"}, "t5"),
        ("lora", {"init_lora_weights": "pissa"}, "bart"),
        slow("ia3", {}, "t5"),
        ("ia3", {}, "bart"),
        ("prompt_tuning", {}, "t5"),
        slow("prompt_tuning", {}, "bart"),
        slow("prefix_tuning", {}, "t5"),
        ("prefix_tuning", {}, "bart"),
    ],
)
def test_the_lines_of_the_card_load_the_model_and_write_what_ftkit_writes(
    family: str,
    method: str,
    settings: dict[str, Any],
    card: Callable[..., tuple[Run, str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, text, model = card(family, method, **settings)
    tokenizer = load_tokenizer_for_seq2seq(Checkpoint("saved", run.model_dir))
    model.eval()
    model.config.use_cache = True
    sources = [tokenizer(SOURCE).input_ids]
    expected = write_outputs(model, tokenizer, sources, DECODING, stop_ids={tokenizer.eos_token_id})[0].text
    greedy = write_outputs(model, tokenizer, sources, Decoding(max_new_tokens=9), stop_ids={tokenizer.eos_token_id})
    assert expected != greedy[0].text, "settings that are passed over must be seen"
    monkeypatch.chdir(run.path)
    assert said_by(text) == expected + "\n"


@pytest.mark.parametrize("method", [slow("full"), "lora"])
def test_the_lines_of_leds_card_let_its_first_token_see_all_as_ftkit_does(
    method: str, card: Callable[..., tuple[Run, str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, text, model = card("led", method)
    model.eval()
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        alone = model.get_encoder().forward(ids).last_hidden_state
        named = model.get_encoder().forward(ids, global_attention_mask=(ids == 10).long()).last_hidden_state
        assert model.get_encoder()(ids).last_hidden_state.equal(named)
        assert not alone.allclose(named)
    tokenizer = load_tokenizer_for_seq2seq(Checkpoint("saved", run.model_dir))
    sources = [tokenizer(SOURCE).input_ids]
    expected = write_outputs(model, tokenizer, sources, DECODING, stop_ids={tokenizer.eos_token_id})[0].text
    monkeypatch.chdir(run.path)
    assert "global_attention_mask" in text
    assert said_by(text) == expected + "\n"


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_card_of_an_export_loads_the_folder_that_it_lies_in(
    method: str, card: Callable[..., tuple[Run, str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, text, model = card("bart", method)
    monkeypatch.chdir(run.path)
    expected, plain = said_by(text), run.path / "plain"
    plain.mkdir()
    (model.merge_and_unload() if method == "lora" else model).save_pretrained(plain)
    for file in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        (plain / file).write_bytes((run.model_dir / file).read_bytes())
    tag, made = "text2text-generation", "It was made here."
    write_card_anew(run.model_dir, plain, name="plain", pipeline_tag=tag, made=made)
    run.model_dir.rename(run.path / "gone")
    exported = (plain / "README.md").read_text(encoding="utf-8")
    assert said_by(exported) == expected
    assert "peft" not in exported.split("## How it was trained")[0]
    assert f"library_name: transformers\npipeline_tag: {tag}\n" in exported
    assert f"# harbour\n\n{made}\n\nAn encoder-decoder finetuned by ftkit" in exported


def test_the_card_says_what_is_read_and_written_and_how_outputs_came_about(
    card: Callable[..., tuple[Run, str, Any]],
) -> None:
    _, text, _ = card("t5", "prompt_tuning", keys="generation: {num_beams: 3}\n")
    assert "```text\n{question}<learn>{answer}\n```" in text
    assert (
        f"A source of the data:\n\n```text\n{SOURCE}\n```\n\nand its target there:\n\n```text\nBy the sea.\n```" in text
    )
    assert "a learnt prompt of vectors before what the encoder reads (method `prompt_tuning`)" in text
    assert "Outputs were generated by 3 beams" in text
    assert "bootstrap intervals over distinct sources" in text
    assert "pipeline_tag: text2text-generation\n" in text
    assert "library_name: peft\n" in text
    for line in ("- placement: cpu", "- tokens.train.targets_cut: 0", "- fit.num_steps: 2"):
        assert f"{line}\n" in text


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "by the likeliest token each time"),
        ("generation: {do_sample: true}\ntraining: {seed: 7}\n", "by tokens drawn with seed 7"),
        ("training: {load_best_model_at_end: false}\n", "over distinct sources.\n"),
    ],
)
def test_the_card_follows_the_recipe(keys: str, said: str, card: Callable[..., tuple[Run, str, Any]]) -> None:
    _, text, _ = card("t5", "lora", keys=keys)
    assert said in text
    assert ("also chose the best checkpoint" in text) == ("load_best" not in keys)


def test_labels_are_named_and_what_their_scores_mean(card: Callable[..., tuple[Run, str, Any]]) -> None:
    _, text, _ = card("t5", "lora", label_names=("good", "very bad"))
    assert "**Labels**, written as text: good, very bad." in text
    assert "`generated_accuracy` counts outputs that are the label to the letter" in text
    assert "bootstrap intervals over rows." in text


def test_scores_stand_beside_those_of_the_base_and_a_matrix_is_left_out(
    card: Callable[..., tuple[Run, str, Any]],
) -> None:
    _, text, _ = card("t5", "lora")
    assert "| validation | loss | 12.5000 | 11.0000 to 14.2500 | 12.5000 | 3 |" in text
    assert "| validation | bleu | 12.5000 | 11.0000 to 14.2500 | 0.2500 | 2 |" in text
    assert "confusion" not in text
    bleu = {split: {name: entries[name] for name in ("loss", "bleu")} for split, entries in METRICS.items()}
    assert list(metrics_lines(bleu)) == [
        "validation (3 texts, 9 tokens predicted)",
        "  loss           12.5000  95 % 11.0000 to 14.2500  base 12.5000",
        "  bleu           12.5000  95 % 11.0000 to 14.2500  base 0.2500",
    ]
