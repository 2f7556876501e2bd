"""What would fail after training is refused before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.classifier import open_classifier
from ftkit.training.outcome import TrainResult


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluation__metrics": "[accuracy, 'evaluate:./absent']"}, "absent"),
        ({"evaluation__metrics": "[f1]", "evaluation__positive_label": "cellar"}, "cellar"),
        ({"training__class_weights": "{garden: 1.0, harbour: 2.0}"}, "labels are"),
    ],
)
def test_what_would_fail_at_the_end_is_refused_before_a_run_is_made(
    settings: dict[str, str], message: str, train: Callable[..., TrainResult], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train(**settings)
    assert not (tmp_path / "run").exists()


def test_a_metric_of_ones_own_beside_the_recipe_is_computed(
    train: Callable[..., TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "share.py").write_text(
        "import datasets\n"
        "import evaluate\n\n\n"
        "class Share(evaluate.Metric):\n"
        "    def _info(self):\n"
        "        features = {'predictions': datasets.Value('int32'), 'references': datasets.Value('int32')}\n"
        "        return evaluate.MetricInfo(\n"
        "            description='', citation='', inputs_description='', features=datasets.Features(features)\n"
        "        )\n\n"
        "    def _compute(self, predictions, references):\n"
        "        return {'share': sum(p == r for p, r in zip(predictions, references)) / len(references)}\n"
    )
    monkeypatch.chdir(tmp_path)
    scores = train(evaluation__metrics="[accuracy, 'evaluate:./share']").metrics["validation"]
    own = [entry["value"] for name, entry in scores.items() if name.startswith("evaluate:")]
    assert own == [pytest.approx(scores["accuracy"]["value"])]


@pytest.mark.parametrize("method", ["frozen", "full", "lora"])
def test_a_second_stage_has_the_positions_of_the_base_and_predictions_the_length_of_the_first(
    method: str, classifier_recipe: Callable[..., TrainResult], tmp_path: Path
) -> None:
    first = classifier_recipe(tmp_path, "first", method__type=method, data__max_length=12, training__num_train_epochs=1)
    assert open_classifier(first.run.model_dir, use_cpu=True).max_length == 12
    assert Checkpoint("first", first.run.model_dir).max_length(100) == 100
