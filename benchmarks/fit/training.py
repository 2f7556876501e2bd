"""From a plant to files, a recipe and a run; and the same once more with something changed, which is a twin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit.plants import Material, Plant, Row
from ftkit.commands.train import train

LENGTHS = {"causal_lm": {"max_length": 64}, "classification": {"max_length": 64}, "seq2seq": {"max_length": 48}}
DATA = {
    "causal_lm": {"text_column": "text"},
    "classification": {"text_column": "text", "label_column": "label"},
    "seq2seq": {"source_column": "source", "target_column": "target", "max_target_length": 48},
}
METRICS = {"causal_lm": ["perplexity"], "classification": ["accuracy"], "seq2seq": ["perplexity"]}


@dataclass(frozen=True)
class Planted:
    """A plant with its files.

    Attributes:
        plant: what is planted.
        material: its data.
        base: folder of the base model.
        folder: where its files and runs lie.
    """

    plant: Plant
    material: Material
    base: Path
    folder: Path


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        path: of the run.
        steps: of its evaluations.
        losses: on its validation file, at those steps.
        train_losses: as logged on the way.
        metric: accuracy at those steps.
    """

    path: Path
    steps: Sequence[int]
    losses: Sequence[float]
    train_losses: Sequence[float]
    metric: Sequence[float]

    @property
    def best(self) -> float:
        """The lowest loss."""
        return min(self.losses)

    @property
    def last(self) -> float:
        """The loss after the last step."""
        return self.losses[-1]


def recipe_of(planted: Planted, *, train: Path, validation: Path) -> dict[str, Any]:
    """The recipe of a plant, as nested sections."""
    plant = planted.plant
    training = {
        "seed": plant.seed,
        "use_cpu": True,
        "bf16": False,
        **plant.training,
    }
    if plant.method["type"] != "frozen":
        training["logging_steps"] = 5
    recipe: dict[str, Any] = {
        "task": plant.task,
        "model": {"name_or_path": plant.model or str(planted.base), "dtype": "float32"},
        "method": dict(plant.method),
        "data": {
            "train_file": str(train),
            "validation_file": str(validation),
            **DATA[plant.task],
            **LENGTHS[plant.task],
        },
        "training": training,
        "evaluation": {"metrics": METRICS[plant.task], "num_resamples": 100},
    }
    if plant.task == "seq2seq":
        recipe["evaluation"]["score_base"] = False
        recipe["generation"] = {"max_new_tokens": 8}
    return recipe


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def train_plant(planted: Planted) -> Fit:
    """The run that is to be judged."""
    data = planted.material
    train = write_rows(planted.folder / "train.jsonl", data.train)
    validation = write_rows(planted.folder / "validation.jsonl", data.validation)
    return train_recipe(planted, recipe_of(planted, train=train, validation=validation), name="run")


def train_twin(
    planted: Planted,
    name: str,
    *,
    training: Mapping[str, Any] | None = None,
    method: Mapping[str, Any] | None = None,
    train: Sequence[Row] | None = None,
    validation: Sequence[Row] | None = None,
    steps: int | None = None,
) -> Fit:
    """The same training with something changed, measured on the fresh set.

    Args:
        planted: the run's.
        name: of the twin's run directory.
        training: keys that replace those of the recipe.
        method: section that replaces the recipe's.
        train: rows instead of its own.
        validation: rows instead of the fresh ones.
        steps: about how many it takes, for four evaluations on the way; as often as in the recipe by default.
    """
    data = planted.material
    files = {
        "train": write_rows(planted.folder / f"{name}-train.jsonl", data.train if train is None else train),
        "validation": write_rows(planted.folder / f"{name}-fresh.jsonl", validation or data.fresh),
    }
    recipe = recipe_of(planted, **files)
    recipe["training"] |= dict(training or {})
    if steps is not None:
        recipe["training"] |= {"eval_strategy": "steps", "eval_steps": max(1, steps // 4)}
    if method is not None:
        recipe["method"] = dict(method)
    return train_recipe(planted, recipe, name=name)


def train_recipe(planted: Planted, recipe: Mapping[str, Any] | str, *, name: str) -> Fit:
    """Train a recipe, given as sections or as YAML, into the run directory `name`."""
    file = planted.folder / f"{name}.yaml"
    # JSON is YAML
    file.write_text(recipe if isinstance(recipe, str) else json.dumps(recipe, indent=1), encoding="utf-8")
    result = train(file, [f"training.output_dir={planted.folder / name}"], overwrite=True)
    return read_fit(result.run.path)


def read_fit(path: Path) -> Fit:
    """The curve of a run, from its history."""
    lines = (path / "history.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    evaluated = [record for record in records if "validation_loss" in record and record["step"] > 0]
    return Fit(
        path,
        [record["step"] for record in evaluated],
        [record["validation_loss"] for record in evaluated],
        [record["train_loss"] for record in records if "train_loss" in record],
        [record.get("validation_accuracy", record.get("validation_token_accuracy", 0.0)) for record in evaluated],
    )
