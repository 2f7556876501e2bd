"""What a recipe asks of other packages is looked for before anything is read."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import ftkit
from ftkit.commands.check import check_data
from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve
from ftkit.tasks.table import take_recipe

LACKING = [name for name in ("wandb", "trackio", "mlflow") if importlib.util.find_spec(name) is None]


@pytest.fixture
def recipe(rows, tmp_path):
    return {
        "task": "classification",
        "model": {"name_or_path": "builtin:tiny-bert"},
        "method": {"type": "lora"},
        "data": {"train_file": str(rows[0])},
        "training": {"output_dir": str(tmp_path / "run")},
    }


def refused_by_both(recipe, match):
    """By check and by train, which leaves no run behind."""
    with pytest.raises(UserError, match=match):
        check_data(take_recipe(recipe))
    with pytest.raises(UserError, match=match):
        ftkit.train(recipe)
    assert not Path(recipe["training"]["output_dir"]).exists()


@pytest.mark.parametrize("name", LACKING[:1])
def test_a_tracker_that_is_not_installed_is_refused_with_how_to_get_it(name, recipe, tmp_path, monkeypatch):
    # as trackers leave one behind
    (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    recipe["training"]["report_to"] = name
    refused_by_both(recipe, rf"report_to: {name} is not installed; pip install {name}, or write none")


@pytest.mark.parametrize(
    ("optim", "match"),
    [
        ("bogus", r"optim: bogus cannot be had: .*write adamw_torch, or another name"),
        ("schedule_free_adamw", r"schedule_free_adamw cannot be had: .*schedulefree.*install the package"),
    ],
)
def test_an_optimizer_that_cannot_be_had_is_refused_with_the_reason(optim, match, recipe):
    if optim.startswith("schedule_free") and importlib.util.find_spec("schedulefree"):
        pytest.skip("its package is installed here, so it can be had")
    recipe["training"]["optim"] = optim
    refused_by_both(recipe, match)


def test_an_optimizer_of_torch_is_taken(recipe):
    recipe["training"]["optim"] = "adamw_torch_fused"
    check_data(take_recipe(recipe))


def test_a_quantised_base_is_refused_with_what_to_name_instead(recipe, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(resolve("builtin:tiny-bert"), base)
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    recipe["model"]["name_or_path"] = str(base)
    refused_by_both(recipe, r"is quantised \(bitsandbytes in .*name the checkpoint that it was made from")
