"""A run on chats, completions and a text at once: what is measured of each, and how the model is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.data.prompting import Prompting
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.report.terminal import metrics_lines, score_rows
from ftkit.training.outcome import TrainResult


@pytest.fixture(scope="module")
def mixed(lm_runs: Any, texts: dict[str, Path]) -> TrainResult:
    found: TrainResult = lm_runs(
        data__train_file=f"[{texts['chats']}, {texts['pairs']}, {texts['plain']}]",
        data__chat_template="plain",
        training__max_steps=3,
    )
    return found


def test_the_sources_add_up_to_the_whole(mixed: TrainResult) -> None:
    whole, parts = mixed.metrics["validation"]["loss"], mixed.metrics["by_source"]
    assert list(parts) == ["chats", "pairs", "plain"]
    losses = [of_it["validation"]["loss"] for of_it in parts.values()]
    assert sum(one["n"] for one in losses) == whole["n"]
    summed = sum(one["value"] * one["num_targets"] for one in losses)
    assert summed / whole["num_targets"] == pytest.approx(whole["value"], rel=1e-6)
    assert all({"validation", "base_validation"} == of_it.keys() for of_it in parts.values())


def test_the_terminal_and_the_card_tell_each_source(mixed: TrainResult) -> None:
    lines = list(metrics_lines(mixed.metrics))
    assert any(line.startswith("validation, pairs (") for line in lines)
    assert ["validation, chats", "loss"] in [row[:2] for row in score_rows(mixed.metrics, beside_base=True)]
    card = (mixed.run.model_dir / "README.md").read_text()
    assert "chats, pairs, plain; " in card
    assert "Measured on what is learnt of each source" in card


def test_the_model_is_asked_as_in_the_first_source(mixed: TrainResult) -> None:
    assert Prompting(**json.loads((mixed.run.model_dir / PROMPTING_FILE).read_text())).kind == "chat"
    assert "the saved model is asked in the form of the first source, chats" in mixed.run.manifest()["data_notes"]


def test_a_mixture_that_is_resumed_in_a_later_epoch_ends_with_the_same_bytes(
    train_lm: Any, texts: dict[str, Path]
) -> None:
    settings = {
        "data__train_file": f"[{{file: {texts['chats']}, weight: 1}}, {{file: {texts['pairs']}, weight: 3}}]",
        "data__chat_template": "plain",
        "training__per_device_train_batch_size": 24,
        "training__max_steps": 8,
        "training__eval_strategy": "steps",
        "training__eval_steps": 4,
    }
    run = train_lm(**settings).run
    facts = run.manifest()["training"]["mixture"]
    assert facts["chats"]["an_epoch"] * 3 == pytest.approx(facts["pairs"]["an_epoch"], abs=3)
    weights = run.model_dir / "adapter_model.safetensors"
    whole, history = weights.read_bytes(), run.history_file.read_text()
    assert json.loads(history.splitlines()[-1])["epoch"] > 2
    (run.checkpoints_dir / "checkpoint-8" / "optimizer.pt").write_bytes(b"cut short")
    run.update_manifest(state="failed")
    weights.unlink()
    train_lm(resume=True, **settings)
    assert weights.read_bytes() == whole
    assert run.history_file.read_text() == history


def test_an_evaluation_tells_each_source(mixed: TrainResult) -> None:
    report = ftkit.evaluate(mixed, effort="quick")
    whole, kept = report.table[report.kept], {name: table[report.kept] for name, table in report.by_source.items()}
    assert list(kept) == ["chats", "pairs", "plain"]
    assert sum(one["validation"]["loss"].n for one in kept.values()) == whole["validation"]["loss"].n
    text = (mixed.run.eval_dir / "report.md").read_text()
    assert "loss by source, nats per token" in text
    assert f"| pairs, {report.kept} |" in text
