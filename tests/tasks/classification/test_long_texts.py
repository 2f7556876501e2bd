"""Texts that are longer than the model reads at once: rows stay rows, whatever is read of them."""

from __future__ import annotations

import ast
import csv
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import ftkit
from ftkit.commands.export import export
from ftkit.tasks.classification.check import check_data
from ftkit.tasks.classification.weights import _loss
from ftkit.tasks.table import read_recipe
from ftkit.training.outcome import TrainResult
from tests.fixtures.tiers import slow
from tests.fixtures.training import SUBJECTS
from tests.tasks.classification.test_card import lines_of, said_by

HEAD = {"training__num_train_epochs": 40, "training__per_device_train_batch_size": 16}
METHODS = {
    "pooled": {"method__pooling": "mean", **HEAD},
    "own head": {"method__pooling": "cls", **HEAD},
    "full": {"method__type": "full", "training__max_steps": 40, "training__learning_rate": 2e-3},
    "lora": {"method__type": "lora", "training__max_steps": 4},
}
WINDOWS = {"data__long_texts": "windows", "data__window_stride": 4}


def write_long(path: Path, *, num_rows: int, seed: int, cue: str = "middle") -> Path:
    """Texts of which the words in the middle, or at the end, give the label away; every fifth is short."""
    generator = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in range(num_rows):
            label = generator.choice(sorted(SUBJECTS))
            told = " ".join(generator.sample(SUBJECTS[label], 4))
            filler = ["and so on"] * (0 if row % 5 == 0 else generator.randrange(8, 12))
            behind = filler if cue == "middle" else []
            writer.writerow([" ".join([str(row), *filler, told, *behind]), label])
    return path


@pytest.fixture(scope="session")
def long_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Settings of a recipe for each place of the cue."""
    folder = tmp_path_factory.mktemp("long")
    return {
        cue: {
            f"data__{split}_file": write_long(folder / f"{cue}-{split}.csv", num_rows=rows, seed=rows, cue=cue)
            for split, rows in (("train", 240), ("validation", 60))
        }
        | {"data__max_length": 24}
        for cue in ("middle", "end")
    }


def accuracy(result: TrainResult) -> float:
    return float(result.metrics["validation"]["accuracy"]["value"])


def test_windows_tell_what_lies_behind_the_cut_and_the_end_is_told_by_head_and_tail(
    classifier_runs: Callable[..., TrainResult], long_data: dict[str, dict[str, Any]]
) -> None:
    middle, end = (long_data[cue] | METHODS["pooled"] for cue in ("middle", "end"))
    assert accuracy(classifier_runs(**middle)) < 0.65
    assert accuracy(classifier_runs(**middle, **WINDOWS)) > 0.75
    assert accuracy(classifier_runs(**end, data__long_texts="head_and_tail")) > 0.85


@pytest.mark.parametrize("method", ["pooled", "own head", "full", slow("lora")])
def test_a_run_in_windows_says_of_each_row_what_the_saved_model_and_its_card_say(
    method: str,
    classifier_runs: Callable[..., TrainResult],
    long_data: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = classifier_runs(**long_data["middle"], **METHODS[method], **WINDOWS)
    run = result.run
    assert result.facts["windows"]["train"] > 1.5 * 240
    rows = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    assert len(rows) == 60 == result.metrics["validation"]["accuracy"]["n"]
    texts = [row["text"] for row in rows]
    for row, again in zip(rows, ftkit.predict(run, texts), strict=True):
        assert again["scores"] == pytest.approx(row["scores"], abs=2e-5)
    probe = np.load(run.probe_rows_file)
    assert (len(probe["train"]), len(probe["validation"])) == (240, 60)
    monkeypatch.chdir(run.path)
    lines = re.sub(r"(?m)^texts = .*$", lambda _: f"texts = {texts[:6]!r}", lines_of(run.model_dir))
    assert ast.literal_eval(said_by(lines)) == [row["label"] for row in rows[:6]]
    assert "neighbours share 4 tokens" in (run.model_dir / "README.md").read_text()


@pytest.mark.parametrize("method", ["full", slow("pooled")])
def test_the_lines_of_a_card_read_the_beginning_and_the_end_as_the_run_does(
    method: str,
    classifier_runs: Callable[..., TrainResult],
    long_data: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = long_data["end"] | METHODS[method] | {"data__long_texts": "head_and_tail"}
    run = classifier_runs(**settings).run
    rows = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    texts = [row["text"] for row in rows[:12]]
    monkeypatch.chdir(run.path)
    lines = re.sub(r"(?m)^texts = .*$", lambda _: f"texts = {texts!r}", lines_of(run.model_dir))
    assert ast.literal_eval(said_by(lines)) == [row["label"] for row in rows[:12]]


@pytest.mark.slow
def test_a_merged_adapter_reads_windows_as_the_run_does(
    classifier_runs: Callable[..., TrainResult], long_data: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run = classifier_runs(**long_data["middle"], **METHODS["lora"], **WINDOWS).run
    merged = export(run.path, tmp_path / "merged", merge=True).folder
    texts = [json.loads(line)["text"] for line in run.predictions_file("validation").read_text().splitlines()]
    for one, other in zip(ftkit.predict(run, texts), ftkit.predict(merged, texts), strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-4)


def test_the_windows_of_a_row_weigh_as_much_as_a_row() -> None:
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    counts, targets = torch.tensor([4, 1, 2]), torch.tensor([2, 0, 1])
    of_windows = torch.repeat_interleave(torch.arange(3), counts)
    loss = _loss(None, smoothing=0.0, windows_a_row=7 / 3)
    labels = torch.stack([targets, counts], dim=1)[of_windows]
    found = loss(SimpleNamespace(logits=logits), labels, num_items_in_batch=labels.ne(-100).sum())
    each = torch.nn.functional.cross_entropy(logits, targets[of_windows], reduction="none")
    rows = torch.stack([part.mean() for part in each.split(counts.tolist())])
    torch.testing.assert_close(found, rows.mean())


def test_check_counts_the_windows_of_the_run_and_advises_them_where_much_is_cut(
    classifier_runs: Callable[..., TrainResult], long_data: dict[str, dict[str, Any]]
) -> None:
    result = classifier_runs(**long_data["middle"], **METHODS["pooled"], **WINDOWS)
    checked = check_data(read_recipe(result.run.recipe_file).recipe)
    assert checked.figures["windows"] == result.facts["windows"]
    assert any("are read in windows" in line for line in checked.lines)
    cut = ["data.long_texts=cut", "data.window_stride=null"]
    advised = check_data(read_recipe(result.run.recipe_file, cut).recipe)
    assert any("data.long_texts: windows would read all of each text" in line for line in advised.warnings)
