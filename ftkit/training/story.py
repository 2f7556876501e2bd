"""The one story of a run, whatever the task and the method: each step is a call."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.data.dataset import Split
from ftkit.metrics.scores import Scores
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import BY_SOURCE, Run
from ftkit.storage import write_json
from ftkit.training.again.refit import begin_refit, plan_refit
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
    run, splits = opened.run, opened.splits
    with under_way(run, recipe):
        train = _refitted if recipe.training.refit else _fitted
        facts, kept = train(opened, recipe, task, reporter=reporter)
        say_failure(kept, facts["fit"], reporter=reporter)
        # numbers of rows by which what was saved was held against what was trained
        facts["fit"].pop("watched", None)
        metrics = _write_scores(opened, recipe, task, kept)
        run.update_manifest(training=facts)
        if write_card is not None:
            write_card(run, recipe, splits=splits, metrics=metrics, facts=facts)
    return TrainResult(run, metrics, kept.final, facts)


class Fitted(NamedTuple):
    """A training that is over: its facts for the manifest, and what the model that was saved gives each split."""

    facts: dict[str, Any]
    kept: Kept


def _fitted(
    opened: Opened,
    recipe: Recipe,
    task: Trainable,
    *,
    until: float | None = None,
    within: Run | None = None,
    saved: Path | None = None,
    scores_base: bool = True,
    reporter: Reporter,
) -> Fitted:
    """Train, save, read back and score.

    Args:
        opened: the run.
        recipe: what is trained.
        task: of the recipe.
        until: epochs after which it ends.
        within: where history, probes and checkpoints go, if not to the run.
        saved: where the model goes, if not to model/.
        scores_base: whether the base is scored before it is trained.
        reporter: hears of it.
    """
    run, checkpoint, splits, resumed = opened
    way = task.way_of(recipe, splits, checkpoint, reporter=reporter)
    model = way.prepare()
    # the only moment at which weights are there that training will change
    base = {} if recipe.method.keeps_base or not scores_base else way.score_base(model)
    facts = way.fit(model, within or run, resumed=resumed, until=until)
    saved = saved or run.model_dir
    if saved == run.first_model_dir:
        # told before that model is there, by which whoever goes on knows that its training is over
        run.update_manifest(before_refit=facts)
    with run.new_model(saved) as folder:
        way.save(model, folder)
    del model
    gc.collect()
    final, uncovered = way.score_kept(saved)
    kept = Kept(final, base or uncovered)
    refuse_other_model(kept, facts["fit"], rounds=trains_in_16_bits(recipe))
    return Fitted(facts, kept)


def _refitted(opened: Opened, recipe: Recipe, task: Trainable, *, reporter: Reporter) -> Fitted:
    """Train to the best step on validation, and then once more from the start on all rows; each goes on when resumed.

    Validation is scored by the first model, which is kept beside; test by the second, which is kept.
    """
    run, splits = opened.run, opened.splits
    if run.first_model_dir.is_dir():
        facts: dict[str, Any] = run.told("before_refit")
        way = task.way_of(recipe, splits, opened.checkpoint, reporter=reporter)
        first = way.score_kept(run.first_model_dir)
        refuse_other_model(first, facts["fit"], rounds=trains_in_16_bits(recipe))
    else:
        facts, first = _fitted(opened, recipe, task, saved=run.first_model_dir, scores_base=False, reporter=reporter)
    again = plan_refit(recipe, splits, facts["fit"])
    reporter.say(again.in_words)
    within = run.refit
    begin_refit(run)
    resumed = within.checkpoints().newest(reporter=reporter)
    within.cut_history(step=0 if resumed is None else resumed.progress.step)
    more = opened._replace(splits=again.splits, resumed=resumed)
    second, kept = _fitted(more, again.recipe, task, until=again.epochs, within=within, reporter=reporter)
    facts |= {"refit": {"rows": len(again.splits.train), "num_steps": second["fit"]["num_steps"]}}
    return Fitted(facts, kept._replace(final=kept.final | {"validation": first.final["validation"]}))


def _write_scores(opened: Opened, recipe: Recipe, task: Trainable, kept: Kept) -> dict[str, Any]:
    """Metrics by split, those of the base as `base_...`, and by source; and predictions/, a line for each row."""
    run, names = opened.run, opened.splits.label_names
    metrics: dict[str, Any] = {}
    by_source: dict[str, Any] = {}

    def measured(split: Split, scores: Scores, which: str) -> dict[str, Any]:
        found = task.metrics_of(recipe, split, scores, names)
        if note := _how_it_is_held_out(opened, recipe, split.name, of_base=bool(which)):
            found = {name: entry | {"note": _joined(note, entry)} for name, entry in found.items()}
        return found

    for which, found in (("", kept.final), ("base_", kept.base)):
        for split in opened.splits.all()[1:]:
            if split.name in found:
                metrics[f"{which}{split.name}"] = measured(split, found[split.name], which)
                for _, numbers, part in split.by_source() if split.source_names else ():
                    scores = found[split.name].of_rows(numbers)
                    by_source.setdefault(part.source, {})[f"{which}{split.name}"] = measured(part, scores, which)
    metrics |= {BY_SOURCE: by_source} if by_source else {}
    for split in opened.splits.all()[1:]:
        rows = task.prediction_rows(recipe, split, kept.final[split.name], kept.base.get(split.name), names)
        run.write_jsonl(run.predictions_file(split.name), rows)
    write_json(run.metrics_file, metrics)
    return metrics


def _how_it_is_held_out(opened: Opened, recipe: Recipe, split: str, *, of_base: bool) -> str:
    """Where the model that is kept has learnt from the rows of a split, which another one was scored on."""
    if opened.splits.is_out_of_fold(split):
        return "out of fold"
    return "before the refit" if recipe.training.refit and split == "validation" and not of_base else ""


def _joined(note: str, entry: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, (note, entry.get("note"))))
