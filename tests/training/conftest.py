"""Small classification data and runs shared by the tests of this folder."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit import workflows

SUBJECTS = {
    "kitchen": ["the pan", "a spoon", "fresh bread", "the oven", "some soup", "the knife"],
    "garden": ["the rose", "a spade", "wet soil", "the hedge", "some seeds", "the lawn"],
    "harbour": ["the ship", "an anchor", "salt water", "the pier", "some rope", "the sail"],
}
VERBS = ["lies near", "waits beside", "was found with", "looks better than", "costs more than", "came before"]


def write_rows(path: Path, *, num_rows: int, seed: int) -> Path:
    """A CSV of texts that two or more words give away the label of."""
    generator = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(num_rows):
            label = generator.choice(sorted(SUBJECTS))
            one, two = generator.sample(SUBJECTS[label], 2)
            extra = " and so on" * generator.randrange(4)
            writer.writerow([f"{one} {generator.choice(VERBS)} {two}{extra} ({number})", label])
    return path


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of 96 training and 32 validation rows."""
    folder = tmp_path_factory.mktemp("rows")
    train = write_rows(folder / "train.csv", num_rows=96, seed=0)
    return train, write_rows(folder / "validation.csv", num_rows=32, seed=1)


@pytest.fixture
def train(rows: tuple[Path, Path], tmp_path: Path) -> Callable[..., workflows.TrainResult]:
    """Train a recipe given as dotted keys, in a folder of its own."""

    def run(name: str = "run", *, overwrite: bool = False, resume: bool = False, **settings: Any) -> Any:
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(
            "task: classification\n"
            "model: {name_or_path: 'builtin:tiny-bert', dtype: float32}\n"
            "method: {type: frozen}\n"
            f"data: {{train_file: {rows[0]}, validation_file: {rows[1]}}}\n"
            f"training: {{output_dir: {tmp_path / name}}}\n"
            "evaluation: {num_resamples: 100}\n"
        )
        overrides = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        return workflows.train(recipe, overrides, overwrite=overwrite, resume=resume)

    return run
