"""`ftkit eval`, top to bottom: find the run and its data, measure, diagnose, try out what is left open, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftkit.commands.advised import advised_text
from ftkit.commands.trial_choice import try_what_is_open
from ftkit.commands.trials import size_of, usual_rate
from ftkit.data.dataset import Splits
from ftkit.diagnosis.diagnose import diagnose
from ftkit.diagnosis.measurements import Setting
from ftkit.diagnosis.report import Report, Score
from ftkit.disk import refuse_folder, writing_told
from ftkit.errors import RunError, UserError
from ftkit.evaluation import learning_curve
from ftkit.evaluation.integrity import drift, find_faults
from ftkit.evaluation.leaks import find_leaks, repeated_share
from ftkit.evaluation.own_metrics import load_metrics, measure_run
from ftkit.evaluation.reporting import make_report
from ftkit.evaluation.subject import Effort, Subject
from ftkit.progress import Reporter, Silent
from ftkit.recipe.dump import changed
from ftkit.recipe.schema import ModelSpec
from ftkit.report.eval.files import write_report
from ftkit.runs.folder import find_run, is_run, refuse_broken_run
from ftkit.runs.run import Run
from ftkit.storage import StrPath
from ftkit.tasks.table import RecipeLike, read_recipe, take_recipe, task_of
from ftkit.training.opening import hashes_of, load_base_and_data, load_data
from ftkit.training.probes import read_probes
from ftkit.training.resume import content_changes

BEFORE_REFIT = (
    "judged is the model before the refit (before_refit/), to which the validation rows are new: the one that is kept "
    "has learnt from them, and only test rows can tell of it"
)


def evaluate(
    path: StrPath,
    *,
    recipe: RecipeLike | None = None,
    effort: Effort = "standard",
    out: StrPath | None = None,
    own_metrics: Sequence[str] = (),
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
) -> Report:
    """Say whether a run is underfit, overfit or has forgotten, with the evidence, and write its report.

    Args:
        path: a run; or a model folder, with the recipe that says what data it is for.
        recipe: for a model that ftkit did not train.
        effort: quick leaves out what takes long; thorough makes short trainings with other settings too.
        own_metrics: functions of Python files (`metrics.py:my_score`), which are run, on what the run has written into
            predictions/.
        out: folder for report.json, report.md and report.html; `eval/` of the run by default.
        trust_remote_code: let code that comes with a model run; what a recipe says of it does not count here.
        reporter: hears notes and progress.

    Returns:
        What was found, as it was written.

    Raises:
        UserError: there is no run or model, or its data are no longer what it was trained on.
    """
    reporter = reporter or Silent()
    place = Path(out) if out is not None else Run(Path(path)).eval_dir if is_run(Path(path)) else None
    if place is not None:
        # said before the minutes of work, not after them
        refuse_folder(place, wanted=place)
    subject = _subject(Path(path), recipe, effort=effort, trust_remote_code=trust_remote_code, reporter=reporter)
    keys = task_of(subject.recipe.task).answer_keys
    own = load_metrics(own_metrics, subject.recipe, keys)
    if own and subject.run is None:
        raise UserError("--metric measures the answers in predictions/ of a run, and this is none", fix="name its run")
    known = None if subject.run is None else subject.run.manifest()
    # before the minutes of work: a function that fails is told at once
    measured = measure_run(subject.run, subject.recipe, own, keys) if own and subject.run is not None else {}
    report = evaluate_subject(subject)
    if measured:
        report = _with_own(report, measured, is_refitted=subject.recipe.training.refit)
    if place is not None:
        if subject.run is not None:
            _refuse_replaced(subject.run, known)
        with writing_told(place, fix="free some space there, or name a folder on another disk with --out"):
            if out is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
            write_report(report, place)
    return report


def _with_own(report: Report, found: Mapping[str, Mapping[str, Mapping[str, Any]]], *, is_refitted: bool) -> Report:
    """A report with metrics of somebody's own in the row of the model that was kept.

    Of a run with a refit the row is that of the model before, and test rows were answered by the one behind it.
    """
    table: dict[str, Any] = {model: dict(sets) for model, sets in report.table.items()}
    notes = list(report.notes)
    for split, entries in found.items():
        if is_refitted and split == "test":
            told = ", ".join(f"{name} {_told(entry)}" for name, entry in entries.items())
            notes.append(f"of test, by the model that was refitted and lies in model/: {told}")
            continue
        scores = {
            name: Score(entry["value"], entry.get("low"), entry.get("high"), entry["n"])
            for name, entry in entries.items()
        }
        table[report.kept][split] = {**table[report.kept].get(split, {}), **scores}
    names = list(dict.fromkeys(name for entries in found.values() for name in entries))
    note = f"{', '.join(names)}: by functions named on the command line, of the answers in predictions/"
    return replace(report, table=table, notes=[*notes, note], own_metrics=names)


def _told(entry: Mapping[str, Any]) -> str:
    return f"undefined ({entry['reason']})" if entry["value"] is None else f"{entry['value']:.4f}"


def _refuse_replaced(run: Run, known: Mapping[str, Any] | None) -> None:
    """Refuse to write the report of one run into another that has its name by now.

    Raises:
        RunError: the run was replaced, moved or removed while it was judged.
    """
    try:
        same = run.manifest() == known
    except (OSError, UserError):
        same = False
    if not same:
        raise RunError(
            f"the run {run.path} was replaced, moved or gone on with while it was judged, so nothing was written",
            fix="run ftkit eval once more",
        )


def curve_verdict(run: Run) -> str:
    """One sentence about a finished run, from what was recorded while it trained; `evaluate` looks closer."""
    recipe = read_recipe(run.recipe_file, check_files=False).recipe
    task = task_of(recipe.task)
    return learning_curve.curve_verdict(run, recipe, unit=task.unit, in_pieces=task.in_pieces)


def advised_recipe(run: Path, report: Report) -> str:
    """The recipe of a run with the advice of its report in it, as YAML text with the reasons as comments.

    Advice that no key of a recipe can carry out is left as a comment at the top.
    """
    recipe = read_recipe(find_run(run).recipe_file, check_files=False).recipe
    return advised_text(recipe, report.verdict.changes)


def _subject(
    path: Path, given: RecipeLike | None, *, effort: Effort, trust_remote_code: bool, reporter: Reporter
) -> Subject:
    refuse_broken_run(path)
    run = Run(path) if is_run(path) else None
    if run is None and given is None:
        if not path.exists():
            find_run(path)
        raise UserError(
            f"{path} is no run of ftkit", fix="for a model alone say --recipe recipe.yaml, which names data"
        )
    if run is not None and not run.model_dir.is_dir():
        raise UserError(f"the run {path} has no model yet ({run.state()})", fix="ftkit train with --resume finishes it")
    recipe = take_recipe(given if given is not None else Run(path).recipe_file).recipe
    recipe = changed(recipe, {"model.trust_remote_code": trust_remote_code})
    moment = None if run is None else run.manifest().get("moment")
    checkpoint, splits = load_base_and_data(recipe, task_of(recipe.task), moment=moment, reporter=reporter)
    if run is None and recipe.training.refit:
        reporter.say(
            "warning: training.refit: the model that such a run keeps has learnt from the validation rows; if this is "
            "one, it looks better than it is: name its run"
        )
    if run is None and splits.folds is not None:
        reporter.say(
            "warning: the heads that score training rows out of fold lie in a run alone, so this model is judged by"
            f" some of these (data.validation_size: {recipe.data.validation_size:g}); if it learnt from them, it looks"
            " better than it is: name its run, or a data.validation_file"
        )
        recipe = changed(recipe, {"data.validation": "split"})
        splits = load_data(recipe, task_of(recipe.task), checkpoint)
    if run is not None:
        _refuse_other_data(run, splits, hashes_of(recipe, checkpoint, splits))
    return Subject(
        recipe=recipe,
        splits=splits,
        checkpoint=checkpoint,
        model_dir=run.judged_dir if run is not None else path,
        run=run,
        curve=read_probes(run) if run is not None else [],
        effort=effort,
        reporter=reporter,
    )


def _refuse_other_data(run: Run, splits: Splits, hashes: Mapping[str, Any]) -> None:
    changes = content_changes(run, dict(hashes), {split.name: len(split) for split in splits.all()})
    if changes:
        named = "; ".join(f"{change.field}: {change.before} -> {change.now}" for change in changes)
        raise UserError(
            f"the run {run.path} was trained on something else: {named}",
            fix="put the files back, or judge its model with other data: ftkit eval RUN/model --recipe recipe.yaml",
        )


NOT_TOLD = (
    "whether it is underfit or overfit, and whether it is better than the base, cannot be told from the training rows;"
    " a data.test_file, or ftkit eval RUN --data FILE, gives figures"
)


def evaluate_subject(subject: Subject) -> Report:
    """Measure a run or a model and say what is wrong with it.

    Raises:
        UserError: a model, a base or a reference that cannot be read.
    """
    began = time.perf_counter()
    task, trains = task_of(subject.recipe.task), subject.recipe.method.trains
    found = task.measure(subject)
    found.notes += _began_with(subject.recipe.model)
    is_before = subject.run is not None and subject.model_dir == subject.run.first_model_dir
    if is_before:
        found.notes.append(BEFORE_REFIT)
    if not subject.splits.holds_out:
        for what in ("validation", "final/validation"):
            found.absent[what] = f"{learning_curve.NOTHING_HELD_OUT}: {NOT_TOLD}"
    find_leaks(subject, found)
    found.faults = find_faults(subject)
    if trains == "weights":
        found.drift = drift(subject.checkpoint.folder, subject.model_dir)
    measured = found.measurements(
        unit=task.unit,
        trains=trains,
        setting=_setting(subject),
        # points without validation rows say nothing of what the checks ask
        curve=subject.curve if subject.splits.holds_out else (),
        repeats=repeated_share(subject.splits.train),
        validation_texts=learning_curve.num_texts(
            len(subject.splits.validation), found.sizes.get("validation", 0), in_pieces=task.in_pieces
        ),
        seed=subject.seed,
    )
    verdict = diagnose(measured)
    if subject.run is not None and subject.effort != "quick" and subject.splits.holds_out:
        measured, verdict = try_what_is_open(subject, found, measured, verdict)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    report = make_report(subject, found, measured, verdict, created=created, seconds=time.perf_counter() - began)
    return replace(report, judged="the one before the refit" if is_before else "")


def _began_with(spec: ModelSpec) -> list[str]:
    """What the base is, of which something may have been forgotten, where a training went on from an adapter."""
    if spec.adapter is None:
        return []
    against = "the two together, merged" if spec.adapter_use == "merge" else "the base without any adapter"
    return [f"the training went on from {spec.adapter}: gain and forgetting are against {against}"]


def _setting(subject: Subject) -> Setting:
    return Setting.of(
        subject.recipe.training,
        num_steps=subject.last_step,
        num_epochs_done=subject.curve[-1].epoch if subject.curve else None,
        usual_rate=usual_rate(subject.recipe, subject.recipe.method, size_of(subject.checkpoint.folder)),
    )
