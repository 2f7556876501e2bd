"""A folder of another maker answers as its configuration says, and what is no number is said to be none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve

TEXTS = ["the pan waits beside some soup", "what a film"]
KINDS: dict[str, dict[str, Any]] = {
    "one label": {"num_labels": 3},
    "stated": {"num_labels": 3, "problem_type": "single_label_classification"},
    "several labels": {"num_labels": 3, "problem_type": "multi_label_classification"},
    "two of several": {"num_labels": 2, "problem_type": "multi_label_classification"},
    "a number": {"num_labels": 1, "problem_type": "regression"},
    "numbers": {"num_labels": 3, "problem_type": "regression"},
    "one logit": {"num_labels": 1},
}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A classifier as transformers saves it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    def make(scale: float = 40.0, **settings: Any) -> Path:
        set_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(resolve("builtin:tiny-bert"), **settings)
        # answers that are not all alike
        model.classifier.weight.data *= scale
        model.save_pretrained(tmp_path / "model")
        AutoTokenizer.from_pretrained(resolve("builtin:tiny-bert")).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_predict_gives_the_scores_that_the_pipeline_gives(kind: str, folder: Callable[..., Path]) -> None:
    from transformers import pipeline

    path = folder(**KINDS[kind])
    expected = pipeline("text-classification", model=str(path), top_k=None)(TEXTS)
    for row, answers in zip(ftkit.predict(path, TEXTS), expected, strict=True):
        assert row["scores"] == pytest.approx({one["label"]: one["score"] for one in answers}, abs=2e-5)
        assert row["label"] == answers[0]["label"]
        if "several" in kind:
            assert set(row["labels"]) == {one["label"] for one in answers if one["score"] >= 0.5}


def test_what_gives_no_single_label_is_not_measured_as_if_it_did(
    folder: Callable[..., Path], classifier_runs: Callable[..., Any]
) -> None:
    run = classifier_runs(method__type="lora", training__max_steps=2, data__max_length=16).run
    path = folder(**KINDS["several labels"])
    with pytest.raises(UserError, match="answers with several labels"):
        ftkit.evaluate(path, recipe=run.recipe_file, effort="quick")


def test_a_model_with_a_nan_gives_no_label_and_no_score(folder: Callable[..., Path]) -> None:
    path = folder(scale=float("nan"), num_labels=3)
    for row in ftkit.predict(path, TEXTS):
        assert (row["label"], row["score"], set(row["scores"].values())) == (None, None, {None})
        json.dumps(row, allow_nan=False)
