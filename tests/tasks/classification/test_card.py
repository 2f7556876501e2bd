"""What a run's model card tells a stranger to type works as it stands."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit.commands.export import export
from ftkit.training.outcome import TrainResult


@pytest.mark.parametrize(
    "settings",
    [
        {"method__pooling": "mean", "training__num_train_epochs": 3},
        {"method__pooling": "cls", "training__num_train_epochs": 3},
        {"method__type": "full", "training__max_steps": 2},
        {"method__type": "lora", "training__max_steps": 2},
    ],
    ids=["pooled", "own head", "full", "lora"],
)
def test_the_lines_of_the_card_load_the_model_and_name_a_label(
    settings: dict[str, object], train: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(**settings).run
    card = (run.model_dir / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    monkeypatch.chdir(run.path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block.group(1), "card", "exec"), {})
    assert any(name in said.getvalue() for name in ("garden", "harbour", "kitchen"))
    assert "validation | accuracy" in card


def test_the_lines_of_a_merged_classifiers_card_load_the_folder_that_it_lies_in(
    train: Callable[..., TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(method__type="lora", training__max_steps=2).run
    export(run.path, tmp_path / "merged", merge=True)
    card = (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    assert "model/" not in block.group(1)
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block.group(1), "card", "exec"), {})
    assert any(name in said.getvalue() for name in ("garden", "harbour", "kitchen"))


@pytest.mark.parametrize(
    ("method", "data"),
    [("full", "pairs"), ("full", "chats"), ("lora", "chats"), ("lora", "plain"), ("prompt_tuning", "pairs")],
)
def test_the_lines_of_a_language_models_card_load_it_and_let_it_write(
    method: str, data: str, train_lm: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = {"data__chat_template": "plain"} if data == "chats" else {}
    run = train_lm(data=data, method__type=method, training__max_steps=2, **chat).run
    card = (run.model_dir / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    monkeypatch.chdir(run.path)
    said, names = io.StringIO(), dict[str, object]()
    with contextlib.redirect_stdout(said):
        exec(compile(block.group(1), "card", "exec"), names)
    assert said.getvalue().strip(), "a random model writes something, if not words"
    assert names["prompt"]
    scores = run.metrics()
    for name in ("loss", "perplexity"):
        finetuned, base = (f"{scores[split][name]['value']:.4f}" for split in ("validation", "base_validation"))
        assert re.search(rf"\| validation \| {name} \| {finetuned} \|[^|]*\| {base} \|", card)
