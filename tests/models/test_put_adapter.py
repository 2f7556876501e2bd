"""An adapter is loaded whole, or refused: what peft leaves out is another model that answers without a word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.errors import UserError
from ftkit.models.adapted.in_turn import Beside, load_beside
from ftkit.models.checkpoint import LABELS_FILE, Checkpoint
from ftkit.models.classifier import open_classifier
from ftkit.models.saved_lm import load_saved_lm
from tests.fixtures.tiers import slow

LEFT_OUT = [
    ({"target_modules": None}, "no place for|does not fit"),
    ({"target_modules": ["query", "q_proj", "q"]}, "no place for"),
    ({"init_lora_weights": "pissa"}, "changes the base"),
    ({"init_lora_weights": "pissa_niter_4"}, "changes the base"),
    ({"init_lora_weights": "olora"}, "changes the base"),
]


def with_settings(folder: Path, copy: Path, **settings: Any) -> Path:
    """A copy of an adapter whose settings differ."""
    shutil.copytree(folder, copy)
    file = copy / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return copy


@pytest.fixture
def language_model(request: pytest.FixtureRequest) -> Callable[[], Path]:
    """The folder of an adapter of a decoder or of an encoder with one."""

    def run(task: str) -> Path:
        runs = request.getfixturevalue("lm_runs" if task == "causal_lm" else "runs_of_pairs")
        folder: Path = runs(method__type="lora", training__max_steps=2).run.model_dir
        return folder

    return run


@pytest.mark.parametrize(
    ("settings", "said"),
    [*LEFT_OUT, ({"modules_to_save": None, "task_type": None}, "neither the adapter nor its base")],
)
def test_a_classifiers_adapter_of_which_a_part_would_be_left_out_is_refused(
    settings: dict[str, Any], said: str, classifier_runs: Callable[..., Any], tmp_path: Path
) -> None:
    run = classifier_runs(method__type="lora", training__max_steps=2).run
    with pytest.raises(UserError, match=said):
        open_classifier(with_settings(run.model_dir, tmp_path / "copy", **settings))


@pytest.mark.parametrize("task", ["causal_lm", slow("seq2seq")])
@pytest.mark.parametrize(("settings", "said"), LEFT_OUT[1:])
def test_a_language_models_adapter_of_which_a_part_would_be_left_out_is_refused(
    task: str, settings: dict[str, Any], said: str, language_model: Callable[..., Path], tmp_path: Path
) -> None:
    copy = with_settings(language_model(task), tmp_path / "copy", **settings)
    with pytest.raises(UserError, match=said):
        load_saved_lm(copy, dtype=torch.float32, device=torch.device("cpu"))


def test_a_classifiers_adapter_that_lacks_weights_is_refused(
    classifier_runs: Callable[..., Any], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    copy = with_settings(classifier_runs(method__type="lora", training__max_steps=2).run.model_dir, tmp_path / "copy")
    tensors = load_file(copy / "adapter_model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "classifier" not in name},
        copy / "adapter_model.safetensors",
    )
    with pytest.raises(UserError, match=r"adapter lacks weights|does not fit its base"):
        open_classifier(copy)


def test_adapters_for_other_labels_are_told_apart_by_these(tmp_path: Path) -> None:
    shared = [f"label {number}" for number in range(12)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        labels = dict(enumerate([*shared, f"only {name}"]))
        (tmp_path / name / LABELS_FILE).write_text(json.dumps({"id2label": labels}))
    folders = {name: tmp_path / name for name in ("one", "two")}
    together = Beside(Checkpoint("base", tmp_path), folders, folders)
    with pytest.raises(UserError, match="for other labels: one of them alone has only one, only two"):
        load_beside(together, device=torch.device("cpu"))
