"""The real encoder on real text: what the README shows first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ftkit
from ftkit.models.builtin.builtin import resolve
from ftkit.progress import Silent
from ftkit.training.outcome import TrainResult

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
EVAL_ROWS = "data.max_eval_samples=150"


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    place = f"training.output_dir={tmp_path_factory.mktemp('quickstart') / 'run'}"
    return ftkit.train(RECIPE, [place, "model.dtype=float32", EVAL_ROWS, "data.max_train_samples=800"])


def test_the_quickstart_is_far_better_than_the_majority_and_near_a_converged_linear_probe(
    quickstart: TrainResult,
) -> None:
    from sklearn.linear_model import LogisticRegression

    from ftkit.tasks.classification.form import load_splits
    from ftkit.tasks.table import read_recipe

    recipe = read_recipe(quickstart.run.recipe_file).recipe
    splits = load_splits(recipe.data, seed=recipe.training.seed)
    stored = quickstart.run.manifest()["training"]["features"]
    vectors = {name: np.load(Path(found["folder"]) / "vectors.npy") for name, found in stored.items()}
    probe = LogisticRegression(C=100, max_iter=3000).fit(vectors["train"], splits.train.labels)
    majority = np.bincount(splits.validation.labels).max() / len(splits.validation)
    rows = len(splits.validation) + len(splits.test or ())
    right, probed = 0.0, 0.0
    for split in splits.all()[1:]:
        right += quickstart.metrics[split.name]["accuracy"]["value"] * len(split)
        probed += probe.score(vectors[split.name], split.labels) * len(split)
    assert right / rows > 2.5 * majority
    assert right / rows > probed / rows - 0.02


def test_the_stored_features_are_what_sentence_transformers_computes(quickstart: TrainResult) -> None:
    from sentence_transformers import SentenceTransformer

    rows = [json.loads(line) for line in quickstart.run.predictions_file("validation").open(encoding="utf-8")]
    texts = [row["text"] for row in rows]
    folder = quickstart.run.manifest()["training"]["features"]["validation"]["folder"]
    stored = np.load(Path(folder) / "vectors.npy")
    encoded = SentenceTransformer(str(resolve("builtin:minilm")), device="cpu").encode(texts)
    np.testing.assert_allclose(stored, encoded, atol=2e-6)
    trained = SentenceTransformer(str(quickstart.run.model_dir), device="cpu")
    logits = torch.from_numpy(trained.encode(texts))
    names = quickstart.run.manifest()["label_names"]
    assert [names[int(index)] for index in logits.argmax(dim=1)] == [row["label"] for row in rows]


@pytest.mark.slow
def test_bfloat16_features_point_the_same_way_and_classify_as_well(tmp_path: Path) -> None:
    results, reporter = [], Silent()
    for dtype in ("bfloat16", "float32"):
        # a processor without such units only emulates them, slowly
        words = [f"training.output_dir={tmp_path / dtype}", f"model.dtype={dtype}", "data.max_train_samples=200"]
        results.append(ftkit.train(RECIPE, [*words, EVAL_ROWS], reporter=reporter))
    assert any("bfloat16" in message for message in reporter.messages)
    folders = [result.run.manifest()["training"]["features"]["test"]["folder"] for result in results]
    one, two = (np.load(Path(folder) / "vectors.npy").astype(np.float64) for folder in folders)
    cosines = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert cosines.min() > 0.9995
    low, high = (result.metrics["test"]["accuracy"]["value"] for result in results)
    assert abs(low - high) < 0.03
