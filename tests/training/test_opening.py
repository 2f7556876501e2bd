"""A run's recipe holds what was found in its data, so that nothing is found otherwise later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.tasks.table import read_recipe
from tests.fixtures.tiers import slow


def data_of(run: Any) -> dict[str, Any]:
    values: dict[str, Any] = read_recipe(run.recipe_file).recipe.data.model_dump()
    return values


@pytest.mark.parametrize("method", ["frozen", slow("lora")])
def test_columns_and_labels_of_a_classifier(method: str, classifier_runs: Callable[..., Any]) -> None:
    data = data_of(classifier_runs(method__type=method, training__max_steps=2).run)
    assert (data["text_column"], data["label_column"]) == ("text", "label")
    assert data["label_names"] == ["garden", "harbour", "kitchen"]
    assert data["max_length"] == 512


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("pairs", {"prompt_column": "prompt", "completion_column": "completion"}),
        ("chats", {"messages_column": "messages"}),
        ("texts", {"text_column": "text"}),
        slow("plain", {"text_column": "text"}),
    ],
)
def test_columns_of_a_language_model(form: str, keys: dict[str, str], lm_runs: Callable[..., Any]) -> None:
    chat = {"data__chat_template": "plain"} if form == "chats" else {}
    data = data_of(lm_runs(data=form, training__max_steps=2, **chat).run)
    named = {"text_column", "prompt_column", "completion_column", "messages_column", "template"}
    assert {key: data[key] for key in named if data[key] is not None} == keys
    assert data["max_length"] is not None


def test_columns_of_sources_and_targets(runs_of_pairs: Callable[..., Any]) -> None:
    data = data_of(runs_of_pairs().run)
    assert (data["source_column"], data["target_column"], data["references_column"]) == ("source", "target", None)
    assert (data["max_length"], data["max_target_length"]) == (512, 512)


def test_the_splits_of_a_data_set_and_an_instruction_with_its_input(
    train_lm: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "dev"):
        rows = [{"instruction": f"say {i} {split}", "input": "in words", "output": f"word {i}"} for i in range(16)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"data__train_file": "null", "data__dataset_name": folder, "data__validation_file": "null"}
    data = data_of(train_lm(training__max_steps=2, **settings).run)
    assert data["validation_split"] in ("dev", "validation")
    assert data["template"] == "{instruction}\n{input}\n<learn>{output}"


def test_what_the_base_decides_is_written_down_and_is_no_change_of_the_recipe(train: Callable[..., Any]) -> None:
    run = train(method__type="frozen", training__num_train_epochs=1).run
    before, recipe = run.manifest()["hashes"], read_recipe(run.recipe_file).recipe
    assert (recipe.method.pooling, recipe.data.max_length) == ("cls", 512)
    assert {"method.pooling", "data.max_length"} < set(run.manifest()["found"])
    assert train(resume=True, method__type="frozen", training__num_train_epochs=1).run.manifest()["hashes"] == before


def test_a_run_goes_on_with_what_it_found_and_is_no_other_for_that(train: Callable[..., Any]) -> None:
    settings = {"method__type": "full", "training__max_steps": 2}
    first = train(**settings).run
    before = first.manifest()["hashes"]
    assert train(resume=True, **settings).run.manifest()["hashes"] == before
    checkpoint = next(first.checkpoints_dir.glob("checkpoint-*"))
    again = train(resume=checkpoint, **settings).run.manifest()
    assert (again["state"], again["hashes"], "former_hashes" in again) == ("finished", before, False)
