"""`ftkit check` of sources and targets: what it foretells is what a run then does, and no weight is read for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import ftkit
from ftkit.data.dataset import Split
from ftkit.errors import UserError
from ftkit.inputs.pairs import tokenize_pairs
from ftkit.models.builtin.builtin import resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.placement import count_parameters
from ftkit.models.seq2seq import load_tokenizer_for_seq2seq
from ftkit.progress import Silent
from ftkit.recipe.parse import LoadedRecipe
from ftkit.report.check import check_json, data_lines
from ftkit.tasks.seq2seq.check import check_data
from ftkit.tasks.seq2seq.train import Writing
from ftkit.tasks.table import read_recipe
from ftkit.training.scores import Scorer
from tests.fixtures.tiers import slow

Load = Callable[..., LoadedRecipe]

TARGETS = ["by the sea", "in the kitchen, and so on", "over there"]


@pytest.fixture
def recipe(tmp_path: Path) -> Load:
    """Read a recipe of 12 training and 6 validation rows, as dotted keys change it."""

    def load(family: str = "t5", **settings: Any) -> LoadedRecipe:
        for name, numbers in (("train", range(12)), ("validation", range(12, 18))):
            rows = [{"source": f"Where is {n}? {'so ' * n}", "target": TARGETS[n % 3]} for n in numbers]
            if name == "validation":
                rows += [rows[0] | {"target": "nowhere"}, {"source": "Where is 3? so so so ", "target": "here"}]
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        file = tmp_path / "r.yaml"
        file.write_text(
            f"task: seq2seq\nmodel: {{name_or_path: 'builtin:tiny-{family}', dtype: float32}}\n"
            "data: {train_file: train.jsonl, validation_file: validation.jsonl}\n"
            f"training: {{output_dir: {tmp_path / 'run'}, bf16: false}}\nevaluation: {{num_resamples: 100}}\n"
        )
        return read_recipe(file, [f"{key.replace('__', '.')}={value}" for key, value in settings.items()])

    return load


def said(loaded: LoadedRecipe) -> str:
    return "\n".join(data_lines(check_data(loaded.recipe)))


@pytest.mark.parametrize("method", ["full", "lora", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_parameters_are_foretold_as_a_run_then_counts_them(family: str, method: str, recipe: Load) -> None:
    loaded = recipe(family, method__type=method)
    plan = check_data(loaded.recipe).plan
    base = Checkpoint(family, Path(resolve(f"builtin:tiny-{family}")))
    tokenizer = load_tokenizer_for_seq2seq(base)
    split = Split.of_rows("train", [{"prompt": "the rose", "completion": "a spade"}])
    train = tokenize_pairs(tokenizer, split, max_length=9, max_target_length=9).pairs
    data: Any = SimpleNamespace(processor=tokenizer, examples={"train": train})
    model = Writing(loaded.recipe, base, data, Scorer(torch.device("cpu"), Silent())).prepare()
    assert (plan.parameters, plan.trained_parameters) == count_parameters(model)
    # what is trained has a gradient and two moments beside it, each in float32
    assert plan.training_bytes > 12 * plan.trained_parameters
    assert plan.weights_bytes == 4 * plan.parameters


@pytest.mark.parametrize(
    "batches",
    [
        slow({"training__per_device_train_batch_size": 5, "training__gradient_accumulation_steps": 2}),
        {"training__max_tokens_per_batch": 90, "training__gradient_accumulation_steps": 3},
    ],
)
def test_steps_tokens_and_the_limit_of_outputs_are_those_of_the_run(batches: dict[str, Any], recipe: Load) -> None:
    settings = {"method__type": "prompt_tuning", "training__num_train_epochs": 2, **batches}
    loaded = recipe(**settings)
    check = check_data(loaded.recipe)
    facts = ftkit.train(loaded.path, [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]).facts
    assert check.plan.steps == facts["fit"]["num_steps"]
    assert check.figures["max_new_tokens"] == facts["max_new_tokens"]
    assert check.plan.max_length == facts["max_length"]
    assert check.plan.trained_parameters == facts["trained_parameters"]
    for split, counted in facts["tokens"].items():
        found = check.figures["tokens"][split]
        assert found["num_source_tokens"] == counted["source_tokens"]
        assert found["num_target_tokens"] == counted["target_tokens"]
    assert check.plan.steps > 2


def test_no_weight_is_read(recipe: Load, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(resolve("builtin:tiny-t5"), base)
    save_file({"other": torch.zeros(1)}, base / "model.safetensors")
    assert check_data(recipe(model__name_or_path=base).recipe).plan.parameters == 70_848


def test_sources_targets_leaks_and_the_first_examples_are_shown(recipe: Load) -> None:
    loaded = recipe(data__max_length=20, data__max_target_length=8)
    check = check_data(loaded.recipe)
    lines = said(loaded)
    assert "validation: 8 rows have 7 sources; an output is measured against the targets of all rows" in lines
    assert "leaks of sources: train/validation 1" in lines
    assert "1 validation example (12.5%) with a source that is also in train" in lines
    assert "outputs have at most 8 tokens (generation.max_new_tokens)" in lines
    shown = lines[lines.index("the first examples") :]
    assert "source  Where is 0?</s>" in shown
    assert "target  by the sea</s>" in shown
    assert shown.count("target  ") == 2
    tokens = check.figures["tokens"]["train"]
    assert f"train sources ({tokens['sources']['percent_cut']:.1f}%) are longer than 20 tokens and are cut" in lines
    assert f"train targets ({tokens['targets']['percent_cut']:.1f}%) are longer than 8 tokens and are cut" in lines
    told = json.loads(json.dumps(check_json([], check)))["data"]
    assert told["tokens"]["train"]["sources"]["max_length"] == 20
    assert told["examples"][0] == {"source": "Where is 0?</s>", "target": "by the sea</s>"}
    assert "outputs have at most 3 tokens" in said(recipe(generation__max_new_tokens=3))


def test_a_length_that_the_model_cannot_take_is_never_advised(recipe: Load) -> None:
    long = {"data__source_prefix": f"'{'so it went ' * 200}'", "data__source_column": "source"}
    columns = long | {"data__target_column": "target"}
    tuned = {"method__type": "prompt_tuning", "method__num_virtual_tokens": 12}
    assert "and the model has positions for 500; LED" in said(recipe("bart", **columns, **tuned))
    assert "and the model has positions for 512; LED" in said(recipe("bart", **columns))
    assert "(holds all" in said(recipe("t5", **columns)), "T5 counts distances"


def test_labels_are_counted(recipe: Load, tmp_path: Path) -> None:
    labels = {"data__labels_as_text": "true", "data__text_column": "source", "data__label_column": "target"}
    loaded = recipe(**labels, data__validation_file=tmp_path / "train.jsonl")
    assert "labels: by the sea 4, in the kitchen, and so on 4, over there 4" in said(loaded)
    assert "an output is measured against" not in said(loaded)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model__name_or_path": "builtin:tiny-llama"}, "fits task: causal_lm"),
        ({"training__fp16": "true"}, "write training.bf16: true"),
        ({"family": "bart", "data__max_target_length": 600}, "data.max_target_length is 600, but"),
    ],
)
def test_what_a_run_would_refuse_is_refused_here(settings: dict[str, Any], message: str, recipe: Load) -> None:
    with pytest.raises(UserError, match=message):
        check_data(recipe(**settings).recipe)
