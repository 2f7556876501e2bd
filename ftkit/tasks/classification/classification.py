"""task: classification, from splits to a finished run: train, score, write what came out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split, Splits
from ftkit.encoders.optimization import class_weight_vector
from ftkit.metrics import evaluate_classification
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.scoring import softmax
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.training.outcome import Finished, Trained


def rehearse_classification(recipe: Recipe, splits: Splits, _checkpoint: Checkpoint) -> None:
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


def train_classification(
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
    from ftkit.tasks.classification.train import finetune

    return finetune(recipe, splits, run, checkpoint=checkpoint, reporter=reporter, resumed=resumed)


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


def prediction_rows(
    split: Split, probabilities: npt.NDArray[np.float64], *, label_names: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """One JSON object a row: the text, what was expected, and what `describe_prediction` says."""
    names = [name for name in ("text", "text_pair") if name in split.table.column_names]
    for row, (probability, label) in enumerate(zip(probabilities, split.labels, strict=True)):
        texts = {name: split.table[name][row].as_py() for name in names}
        yield texts | {"expected": label_names[label]} | describe_prediction(probability, label_names=label_names)


def describe_prediction(probability: npt.NDArray[np.float64], *, label_names: tuple[str, ...]) -> dict[str, Any]:
    """Probabilities (K,) of one example -> label, score and scores by label name.

    Example:
        >>> describe_prediction(np.array([0.25, 0.75]), label_names=("no", "yes"))
        {'label': 'yes', 'score': 0.75, 'scores': {'no': 0.25, 'yes': 0.75}}
    """
    best = int(probability.argmax())
    scores = {name: round(float(value), 6) for name, value in zip(label_names, probability, strict=True)}
    return {"label": label_names[best], "score": scores[label_names[best]], "scores": scores}
