"""The one story of a run, whatever the task and the method: each step is a call."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.storage import write_json
from ftkit.training.arguments import trains_in_16_bits
from ftkit.training.opening import Opened, load_base_and_data, open_run, under_way
from ftkit.training.outcome import TrainResult, refuse_other_model, say_failure
from ftkit.training.way import Kept, Trainable


def begin(recipe: Recipe, task: Trainable, *, overwrite: bool, reporter: Reporter) -> Opened:
    """From a recipe to the directory of a new run.

    Raises:
        UserError: anything about the recipe, its data and its base that a person can mend.
    """
    checkpoint, splits = load_base_and_data(recipe, task, reporter=reporter)
    task.rehearse(recipe, splits, checkpoint)
    return open_run(recipe, task, splits, checkpoint, overwrite=overwrite)


def finish(
    opened: Opened,
    recipe: Recipe,
    task: Trainable,
    *,
    write_card: Callable[..., None] | None = None,
    reporter: Reporter,
) -> TrainResult:
    """From the directory of a run, new or gone on with, to its model, its figures and its card.

    Raises:
        RunError: the disk or the memory ran out, a loss is not finite, or what was saved is not what was trained.
        Interrupted: the process was asked to stop; what was learnt is sealed.
    """
    run, checkpoint, splits, resumed = opened
    with under_way(run, recipe):
        way = task.way_of(recipe, splits, checkpoint, reporter=reporter)
        model = way.prepare()
        # the only moment at which weights are there that training will change
        base = {} if recipe.method.keeps_base else way.score_base(model)
        facts = way.fit(model, run, resumed=resumed)
        with run.new_model() as folder:
            way.save(model, folder)
        del model
        gc.collect()
        final, uncovered = way.score_kept(run.model_dir)
        kept = Kept(final, base or uncovered)
        refuse_other_model(kept, facts["fit"], rounds=trains_in_16_bits(recipe))
        say_failure(kept, facts["fit"], reporter=reporter)
        metrics = _write_scores(opened, recipe, task, kept)
        run.update_manifest(training=facts)
        if write_card is not None:
            write_card(run, recipe, splits=splits, metrics=metrics, facts=facts)
    return TrainResult(run, metrics, kept.final, facts)


def _write_scores(opened: Opened, recipe: Recipe, task: Trainable, kept: Kept) -> dict[str, Any]:
    """Metrics by split, those of the base as `base_...`; and predictions/, a line for each row."""
    run, names = opened.run, opened.splits.label_names
    metrics: dict[str, Any] = {}
    for which, found in (("", kept.final), ("base_", kept.base)):
        for split in opened.splits.all()[1:]:
            if split.name in found:
                scores = task.metrics_of(recipe, split, found[split.name], names)
                if opened.splits.is_out_of_fold(split.name):
                    scores = {name: entry | {"note": _out_of_fold(entry)} for name, entry in scores.items()}
                metrics[f"{which}{split.name}"] = scores
    for split in opened.splits.all()[1:]:
        rows = task.prediction_rows(recipe, split, kept.final[split.name], kept.base.get(split.name), names)
        run.write_jsonl(run.predictions_file(split.name), rows)
    write_json(run.metrics_file, metrics)
    return metrics


def _out_of_fold(entry: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, ("out of fold", entry.get("note"))))
