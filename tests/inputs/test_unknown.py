"""A vocabulary that knows nothing of a text is told everywhere; one that knows nothing at all is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ftkit
from ftkit.commands.check import check_data
from ftkit.errors import UserError
from ftkit.inputs.unknown import unknown_warning, unknown_warning_by_files
from ftkit.models.builtin.builtin import resolve
from ftkit.models.saved_lm import load_saved_lm
from ftkit.progress import Silent
from ftkit.tasks.table import read_recipe
from tests.fixtures.tiers import slow
from tests.fixtures.tokenizers import tiny_tokenizer

SAID = "of the train texts are [UNK]"
GONE = r"has no vocabulary|cannot be loaded|cannot be read"
THAI = ["\u0e09\u0e31\u0e19\u0e0a\u0e2d\u0e1a\u0e2b\u0e19\u0e31\u0e07", "\u0e44\u0e21\u0e48\u0e14\u0e35"]


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """A recipe for texts of which the tokenizer of a tiny BERT knows no letter."""

    def make(**method: str) -> Path:
        with (tmp_path / "thai.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows((f"{THAI[i % 2]} {THAI[i % 3 % 2] * (i + 1)}", i % 2) for i in range(24))
        lines = {
            "task": "classification",
            "model": {"name_or_path": "builtin:tiny-bert", "dtype": "float32"},
            "method": method,
            "data": {"train_file": str(tmp_path / "thai.csv"), "text_column": "text", "label_column": "label"},
            "training": {"output_dir": str(tmp_path / "run"), "max_steps": 1},
            "evaluation": {"num_resamples": 100},
        }
        (tmp_path / "recipe.yaml").write_text(json.dumps(lines))
        return tmp_path / "recipe.yaml"

    return make


@pytest.mark.parametrize("method", [{"type": "frozen"}, {"type": "frozen", "pooling": "mean"}, {"type": "lora"}])
def test_train_and_predict_say_it_and_so_does_a_run_on_stored_features(
    method: dict[str, str], recipe: Callable[..., Path]
) -> None:
    for overwrite in (False, True):
        heard = Silent()
        run = ftkit.train(recipe(**method), overwrite=overwrite, reporter=heard).run
        assert any(SAID in message and "warning: 100%" in message for message in heard.messages), heard.messages
    heard = Silent()
    list(ftkit.predict(run, THAI, reporter=heard))
    assert len([message for message in heard.messages if "of these texts are [UNK]" in message]) == 1


def test_check_says_it(recipe: Callable[..., Path]) -> None:
    found = check_data(read_recipe(recipe(type="full")))
    assert any(SAID in warning for warning in found.warnings)


def test_the_share_is_of_the_tokens_that_stand_for_text() -> None:
    tokenizer = tiny_tokenizer("bert")
    ids = tokenizer(["the pan \u0e09 the pan"])["input_ids"]
    warning = unknown_warning(tokenizer, ids, whose="of the texts")
    assert warning is not None
    assert warning.startswith(f"{1 / (len(ids[0]) - 2):.0%} of the tokens")
    assert unknown_warning(tokenizer, np.array(tokenizer("the pan")["input_ids"]), whose="") is None
    folder = Path(resolve("builtin:tiny-bert"))
    assert unknown_warning_by_files(folder, ["the pan \u0e09 the pan"], whose="of the texts") == warning
    # bytes know everything
    assert unknown_warning(tiny_tokenizer("gpt2"), tiny_tokenizer("gpt2")(THAI)["input_ids"], whose="") is None


@pytest.mark.parametrize("garbled", [False, True], ids=["missing", "garbled"])
@pytest.mark.parametrize("place", ["base", "run", "pooled", slow("adapter")])
def test_a_classifier_whose_vocabulary_is_gone_neither_trains_nor_predicts(
    place: str, garbled: bool, recipe: Callable[..., Path], classifier_runs: Callable[..., Any], tmp_path: Path
) -> None:
    methods = {"pooled": {"method__pooling": "mean"}, "adapter": {"method__type": "lora"}}
    settings = {"training__max_steps": 2, "data__max_length": 16, **methods.get(place, {"method__type": "full"})}
    source = resolve("builtin:tiny-bert") if place == "base" else classifier_runs(**settings).run.model_dir
    shutil.copytree(source, tmp_path / "folder")
    (file,) = (tmp_path / "folder").rglob("tokenizer.json")
    file.unlink()
    for other in file.parent.glob("vocab*"):
        other.unlink()
    if garbled:
        file.write_text('{"version": "1.0", "model": {"type": ')
    if place == "base":
        with pytest.raises(UserError, match=GONE):
            ftkit.train(recipe(type="full"), [f"model.name_or_path={tmp_path / 'folder'}"])
    else:
        with pytest.raises(UserError, match=GONE):
            ftkit.predict(tmp_path / "folder", ["the pan"])


@pytest.mark.parametrize("task", ["causal_lm", slow("seq2seq")])
def test_an_adapter_of_a_language_model_whose_vocabulary_is_gone_does_not_write(
    task: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    runs = request.getfixturevalue("lm_runs" if task == "causal_lm" else "runs_of_pairs")
    run = runs(method__type="lora", training__max_steps=2).run
    shutil.copytree(run.model_dir, tmp_path / "folder")
    (tmp_path / "folder" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=GONE):
        load_saved_lm(tmp_path / "folder", dtype=torch.float32, device=torch.device("cpu"))
