"""task: classification, from splits to a finished run: train, score, write what came out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Splits
from ftkit.encoders.optimization import class_weight_vector
from ftkit.metrics import evaluate_classification
from ftkit.metrics.scores import softmax
from ftkit.models.checkpoint import Checkpoint
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.classification.scores import prediction_rows
from ftkit.training.outcome import Finished, Trained


def rehearse(recipe: Recipe, splits: Splits, checkpoint: Checkpoint) -> None:  # noqa: ARG001
    """Score made-up predictions as the real ones will be scored, so that nothing is trained in vain.

    Raises:
        UserError: a metric that cannot be had or computed, or a label that does not exist.
    """
    num_labels = len(splits.label_names)
    class_weight_vector(
        recipe.training.class_weights, label_names=splits.label_names, counts=np.ones(num_labels, dtype=np.int64)
    )
    probabilities = np.full((num_labels, num_labels), 0.5 / num_labels) + 0.5 * np.eye(num_labels)
    _measure(recipe, np.arange(num_labels), probabilities, splits.label_names)


def finetune(
    recipe: Recipe,
    splits: Splits,
    run: Run,
    *,
    checkpoint: Checkpoint,
    reporter: Reporter,
    resumed: SealedCheckpoint | None = None,
) -> Finished:
    """Train a classifier and write model/, metrics.json and predictions/.

    Args:
        recipe: with task classification.
        splits: the data.
        run: an empty run, or one to go on with.
        checkpoint: the base model.
        reporter: hears what was chosen.
        resumed: a checkpoint of this run to go on from, verified (full and adapters).

    Returns:
        The metrics by split, as in metrics.json, and facts of the training.
    """
    trained = _train(recipe, splits, run, checkpoint=checkpoint, reporter=reporter, resumed=resumed)
    metrics: dict[str, Any] = {}
    for split in splits.all()[1:]:
        probabilities = softmax(trained.logits[split.name])
        metrics[split.name] = _measure(recipe, split.labels, probabilities, splits.label_names)
        run.write_jsonl(
            run.predictions_file(split.name), prediction_rows(split, probabilities, label_names=splits.label_names)
        )
    write_json(run.metrics_file, metrics)
    run.update_manifest(training=trained.facts)
    return Finished(metrics, trained.facts, trained.logits)


def _train(
    recipe: Recipe,
    splits: Splits,
    run: Run,
    *,
    checkpoint: Checkpoint,
    reporter: Reporter,
    resumed: SealedCheckpoint | None,
) -> Trained:
    if recipe.method.type == "frozen":
        from ftkit.tasks.classification.frozen import train_frozen

        return train_frozen(recipe, splits, run, checkpoint=checkpoint, reporter=reporter)
    from ftkit.tasks.classification.weights import finetune_weights

    return finetune_weights(recipe, splits, run, checkpoint=checkpoint, reporter=reporter, resumed=resumed)


def _measure(
    recipe: Recipe,
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    label_names: tuple[str, ...],
) -> dict[str, dict[str, object]]:
    positive = recipe.evaluation.positive_label
    return evaluate_classification(
        labels,
        probabilities,
        label_names=label_names,
        metrics=recipe.evaluation.metrics,
        positive_label=None if positive is None else str(positive),
        num_resamples=recipe.evaluation.num_resamples,
        seed=recipe.training.seed,
    )
