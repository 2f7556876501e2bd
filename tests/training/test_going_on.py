"""An adapter that is gone on with begins where it ended, and what comes out loads as peft loads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ftkit
from ftkit.errors import UserError
from ftkit.models.classifier import open_classifier
from ftkit.models.merging import answer, largest_difference, probe_tokens
from ftkit.models.saved_lm import load_saved_lm
from ftkit.runs.run import Run
from tests.fixtures.tiers import slow

Trained = Callable[..., Any]
FIRST = {"training__max_steps": 2}
MORE = {"training__max_steps": 4, "training__learning_rate": 1e-2, "training__warmup_steps": 0}
MERGED = {"model__adapter_use": "merge"}
FIXTURES = {
    "causal_lm": ("lm_runs", "lm_recipe"),
    "seq2seq": ("runs_of_pairs", "pair_recipe"),
    "classification": ("classifier_runs", "classifier_recipe"),
}


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Trained:
    """A run that ended, and one that goes on with it, by the settings that differ."""

    def run(task: str, *, method: str = "lora", **settings: Any) -> tuple[Run, Any]:
        runs, recipe = FIXTURES[task]
        first = request.getfixturevalue(runs)(method__type=method, **FIRST).run
        values = {"method__type": method, "model__adapter": first.path, **MORE, **settings}
        return first, request.getfixturevalue(recipe)(tmp_path, "second", **values)

    return run


def first_loss(run: Run) -> float:
    """Validation loss before the first step."""
    lines = [json.loads(line) for line in run.history_file.read_text().splitlines()]
    return next(line["validation_loss"] for line in lines if line["step"] == 0 and "validation_loss" in line)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def as_set(value: Any) -> Any:
    return set(value) if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("task", "method"),
    [
        ("causal_lm", "lora"),
        ("classification", "lora"),
        slow("seq2seq", "lora"),
        *(slow(task, "ia3") for task in FIXTURES),
        *(slow(task, "prompt_tuning") for task in ("causal_lm", "seq2seq")),
        slow("seq2seq", "prefix_tuning"),
    ],
)
def test_an_adapter_goes_on_where_it_ended_and_stays_what_it_is(task: str, method: str, pair: Trained) -> None:
    first, second = pair(task, method=method)
    assert first_loss(second.run) == pytest.approx(first.metrics()["validation"]["loss"]["value"], abs=1e-5)
    before, after = weights(first.model_dir), weights(second.run.model_dir)
    assert {name: one.shape for name, one in before.items()} == {name: one.shape for name, one in after.items()}
    assert not any(one.equal(before[name]) for name, one in after.items())
    before, after = (json.loads((run.model_dir / "adapter_config.json").read_text()) for run in (first, second.run))
    assert {name: as_set(value) for name, value in before.items()} == {name: as_set(after[name]) for name in before}
    assert "went on from the weights of the adapter" in (second.run.model_dir / "README.md").read_text()


@pytest.mark.parametrize(("task", "method"), [("causal_lm", "lora"), slow("seq2seq", "lora"), slow("causal_lm", "ia3")])
def test_a_merged_adapter_is_the_base_of_the_next_which_peft_loads_as_it_was_trained(
    task: str, method: str, pair: Trained
) -> None:
    from peft import AutoPeftModelForCausalLM, AutoPeftModelForSeq2SeqLM

    first, second = pair(task, **MERGED, method__type=method)
    folder = second.run.model_dir
    base = second.metrics["base_validation"]["loss"]["value"]
    assert base == pytest.approx(first.metrics()["validation"]["loss"]["value"], abs=1e-4)
    assert second.metrics["validation"]["loss"]["value"] < base
    auto = AutoPeftModelForCausalLM if task == "causal_lm" else AutoPeftModelForSeq2SeqLM
    ours = load_saved_lm(folder, dtype=torch.float32, device=torch.device("cpu")).model
    theirs = auto.from_pretrained(str(folder)).eval()
    probe = {"input_ids": (tokens := probe_tokens(500)), "use_cache": False}
    probe |= {"decoder_input_ids": tokens} if task == "seq2seq" else {}
    assert largest_difference(answer(theirs, probe), answer(ours, probe)) <= 1e-6
    named = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named != json.loads((first.model_dir / "adapter_config.json").read_text())["base_model_name_or_path"]


@pytest.mark.slow
def test_a_classifier_keeps_its_head_whether_its_adapter_is_merged_or_not(pair: Trained) -> None:
    first, second = pair("classification", **MERGED, method__type="full", training__max_steps=1)
    assert first_loss(second.run) == pytest.approx(first.metrics()["validation"]["loss"]["value"], abs=1e-4)
    assert open_classifier(second.run.path).label_names == open_classifier(first.path).label_names


def test_a_run_that_goes_on_with_an_adapter_is_resumed_to_the_same_bytes(pair: Trained, lm_recipe: Trained) -> None:
    settings = {"training__eval_strategy": "steps", "training__eval_steps": 2, "method__lora_dropout": 0.0}
    first, second = pair("causal_lm", **settings)
    run = second.run
    file = run.model_dir / "adapter_model.safetensors"
    whole, history = file.read_bytes(), run.history_file.read_text()
    (run.checkpoints_dir / "checkpoint-4" / "optimizer.pt").write_bytes(b"cut short")
    run.update_manifest(state="failed")
    file.unlink()
    again = {"method__type": "lora", "model__adapter": first.path, **MORE, **settings}
    resumed = lm_recipe(run.path.parent, "second", resume=True, **again).run
    assert file.read_bytes() == whole
    assert resumed.history_file.read_text() == history


def test_the_head_that_peft_saves_by_itself_is_no_module_that_a_recipe_asks_for(
    classifier_runs: Trained, rows: tuple[Path, Path], tmp_path: Path
) -> None:
    from ftkit.commands.check import check_data
    from ftkit.tasks.table import take_recipe

    first = classifier_runs(method__type="lora", **FIRST).run
    theirs = shutil.copytree(first.model_dir, tmp_path / "theirs")
    recipe = {"task": "classification", "model": {"adapter": str(theirs)}, "data": {"train_file": str(rows[0])}}
    loaded = take_recipe(recipe)
    method: Any = loaded.recipe.method
    assert not set(method.modules_to_save or ()) & {"classifier", "score"}
    assert check_data(loaded).plan.trained_parameters > 0


def test_an_adapter_alone_tells_its_base_its_method_and_its_rank(lm_runs: Trained, texts: dict[str, Path]) -> None:
    first = lm_runs(method__type="lora", **FIRST).run
    recipe = {"task": "causal_lm", "model": {"adapter": str(first.path)}, "data": {"train_file": str(texts["pairs"])}}
    loaded = ftkit.tasks.table.take_recipe(recipe)
    assert loaded.recipe.model.name_or_path == "builtin:tiny-llama"
    assert (loaded.recipe.method.type, loaded.sources["method.r"]) == ("lora", "of the adapter")


def test_an_adapter_of_peft_alone_goes_on_though_its_layers_are_a_pattern(
    lm_runs: Trained, train_lm: Trained, tmp_path: Path
) -> None:
    first, folder = lm_runs(method__type="lora", **FIRST).run, tmp_path / "theirs"
    folder.mkdir()
    shutil.copy(first.model_dir / "adapter_model.safetensors", folder)
    settings = json.loads((first.model_dir / "adapter_config.json").read_text())
    pattern = r"model\.layers\.\d+\.(mlp|self_attn)\.\w+_proj"
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"target_modules": pattern, "lora_alpha": 16.0}))
    second = train_lm(model__adapter=folder, **MORE).run
    assert first_loss(second) == pytest.approx(first.metrics()["validation"]["loss"]["value"], abs=1e-5)
    layers = ftkit.tasks.table.read_recipe(second.recipe_file).recipe.method.target_modules
    assert {f"base_model.model.{layer}.lora_A.weight" for layer in layers} <= weights(folder).keys()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method.r=4"], "method.r: 4, and the adapter that is gone on with has 8"),
        (["method.type=ia3"], "ia3 does not go on with lora"),
        (["method.type=full"], "full does not go on with lora"),
        (["method.init_lora_weights=gaussian"], "has begun already"),
        (["data.add_tokens=[abc]"], "no place for new embeddings"),
        (["task=seq2seq", "model.name_or_path=builtin:tiny-t5"], "an adapter for CAUSAL_LM"),
        (["model.adapter=nowhere"], "no such file or folder"),
        (["model.adapter=."], "holds no adapter"),
        (["model.adapter=null", "model.adapter_use=merge"], "no adapter is named"),
        (["method={type: lora}", "model.name_or_path=builtin:tiny-gpt2"], "trained on .*, and the base is"),
    ],
)
def test_a_recipe_that_says_otherwise_than_its_adapter_is_refused(
    overrides: list[str], said: str, lm_runs: Trained, texts: dict[str, Path], tmp_path: Path
) -> None:
    first = lm_runs(method__type="lora", **FIRST).run
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"task: causal_lm\nmodel: {{adapter: {first.path}}}\nmethod: {{}}\ndata: {{train_file: {texts['pairs']}}}\n"
    )
    with pytest.raises(UserError, match=said):
        ftkit.train(recipe, overrides)
    assert not (tmp_path / "runs").exists()


def test_a_prompt_is_not_merged_and_another_form_and_other_labels_are_said(
    lm_runs: Trained, classifier_runs: Trained, rows: tuple[Path, Path], texts: dict[str, Path], tmp_path: Path
) -> None:
    from ftkit.commands.check import check_data
    from ftkit.tasks.table import take_recipe

    first = lm_runs(method__type="lora", **FIRST).run
    prompt = shutil.copytree(first.model_dir, tmp_path / "prompt")
    settings = json.loads((prompt / "adapter_config.json").read_text())
    (prompt / "adapter_config.json").write_text(json.dumps(settings | {"peft_type": "PROMPT_TUNING"}))
    recipe = {"task": "causal_lm", "data": {"train_file": str(texts["pairs"])}}
    with pytest.raises(UserError, match="a tuned prompt cannot be merged"):
        take_recipe(recipe | {"model": {"adapter": str(prompt), "adapter_use": "merge"}})
    recipe["data"] = {"train_file": str(texts["pairs"]), "template": "{prompt}:<learn> {completion}"}
    notes = check_data(take_recipe(recipe | {"model": {"adapter": str(first.path)}})).notes
    assert any("taught in another form: template" in note for note in notes)
    head = classifier_runs(method__type="lora", **FIRST).run
    other = {"train_file": str(rows[0]), "label_names": ["harbour", "kitchen", "garden"]}
    with pytest.raises(UserError, match="is for the labels garden, harbour, kitchen, and the data have harbour"):
        ftkit.train({"task": "classification", "model": {"adapter": str(head.path)}, "data": other})
