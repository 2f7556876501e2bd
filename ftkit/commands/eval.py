"""`ftkit eval`, top to bottom: find the run and its data, measure, diagnose, try out what is left open, report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftkit.commands.advised import advised_text
from ftkit.commands.trial_choice import first_trials, further_trials
from ftkit.commands.trials import STANDARD_SECONDS, possible_trials, seconds_of_run, size_of, try_out, usual_rate
from ftkit.data.dataset import Splits
from ftkit.diagnosis.diagnose import diagnose
from ftkit.diagnosis.measurements import Measurements, Setting, Trial, TrialKind
from ftkit.diagnosis.report import Report
from ftkit.diagnosis.verdict import Verdict
from ftkit.errors import UserError
from ftkit.evaluation import learning_curve
from ftkit.evaluation.integrity import drift, find_faults
from ftkit.evaluation.leaks import find_leaks, repeated_share
from ftkit.evaluation.reporting import make_report
from ftkit.evaluation.subject import Effort, Gathered, Subject
from ftkit.progress import Reporter, Silent
from ftkit.report.eval.files import write_report
from ftkit.runs.disk import disk_failures_told
from ftkit.runs.folder import find_run, is_run
from ftkit.runs.run import Run
from ftkit.storage import StrPath
from ftkit.tasks.table import RecipeLike, read_recipe, take_recipe, task_of
from ftkit.training.opening import hashes_of, load_base_and_data
from ftkit.training.probes import read_probes
from ftkit.training.resume import content_changes

FACTORS: dict[TrialKind, float] = {
    "rate": 1.2,
    "faster": 1.2,
    "slower": 1.2,
    "longer": 3.2,
    "rank": 1.3,
    "unfrozen": 3.0,
}
"""How much longer than the run a trial takes, about."""

SMALL = 3_000_000
"""Parameters of an encoder that is trained whole in seconds."""


def evaluate(
    path: StrPath,
    *,
    recipe: RecipeLike | None = None,
    effort: Effort = "standard",
    out: StrPath | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Say whether a run is underfit, overfit or has forgotten, with the evidence, and write its report.

    Args:
        path: a run; or a model folder, with the recipe that says what data it is for.
        recipe: for a model that ftkit did not train.
        effort: quick leaves out what takes long; thorough makes short trainings with other settings too.
        out: folder for report.json, report.md and report.html; `eval/` of the run by default.
        reporter: hears notes and progress.

    Returns:
        What was found, as it was written.

    Raises:
        UserError: there is no run or model, or its data are no longer what it was trained on.
    """
    reporter = reporter or Silent()
    subject = _subject(Path(path), recipe, effort=effort, reporter=reporter)
    report = evaluate_subject(subject)
    folder = Path(out) if out is not None else (subject.run.eval_dir if subject.run is not None else None)
    if folder is not None:
        with disk_failures_told(folder):
            write_report(report, folder)
    return report


def curve_verdict(run: Run) -> str:
    """One sentence about a finished run, from what was recorded while it trained; `evaluate` looks closer."""
    recipe = read_recipe(run.recipe_file, check_files=False).recipe
    return learning_curve.curve_verdict(run, recipe, unit=task_of(recipe.task).unit)


def advised_recipe(run: Path, report: Report) -> str:
    """The recipe of a run with the advice of its report in it, as YAML text with the reasons as comments.

    Advice that no key of a recipe can carry out is left as a comment at the top.
    """
    recipe = read_recipe(find_run(run).recipe_file, check_files=False).recipe
    return advised_text(recipe, report.verdict.changes)


def _subject(path: Path, given: RecipeLike | None, *, effort: Effort, reporter: Reporter) -> Subject:
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
    checkpoint, splits = load_base_and_data(recipe, task_of(recipe.task), reporter=reporter)
    if run is not None:
        _refuse_other_data(run, splits, hashes_of(recipe, checkpoint, splits))
    return Subject(
        recipe=recipe,
        splits=splits,
        checkpoint=checkpoint,
        model_dir=run.model_dir if run is not None else path,
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


def evaluate_subject(subject: Subject) -> Report:
    """Measure a run or a model and say what is wrong with it.

    Raises:
        UserError: a model, a base or a reference that cannot be read.
    """
    began = time.perf_counter()
    found = task_of(subject.recipe.task).measure(subject)
    find_leaks(subject, found)
    found.faults = find_faults(subject)
    if subject.recipe.method.trains == "weights":
        found.drift = drift(subject.checkpoint.folder, subject.model_dir)
    measured = as_measurements(subject, found)
    verdict = diagnose(measured)
    if subject.run is not None and subject.effort != "quick":
        measured = _with_trials(subject, found, measured, verdict)
        verdict = diagnose(measured)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return make_report(subject, found, measured, verdict, created=created, seconds=time.perf_counter() - began)


def as_measurements(subject: Subject, found: Gathered) -> Measurements:
    """What was gathered, as the diagnosis takes it."""
    return Measurements(
        unit=task_of(subject.recipe.task).unit,
        trains=subject.recipe.method.trains,
        losses=found.losses,
        setting=_setting(subject),
        absent=found.absent,
        curve=subject.curve,
        baselines=found.baselines,
        groups=found.groups,
        faults=found.faults,
        classes=found.classes,
        overlap=found.overlap,
        test_overlap=found.test_overlap,
        repeats=repeated_share(subject.splits.train),
        noise=found.noise,
        forgetting=found.forgetting,
        domain=found.domain,
        reproduction=found.reproduction,
        trials=found.trials,
        drift=found.drift,
        seed=subject.seed,
    )


def _setting(subject: Subject) -> Setting:
    training = subject.recipe.training
    epochs = subject.curve[-1].epoch if subject.curve else None
    return Setting(
        num_steps=subject.last_step,
        max_steps=training.max_steps,
        num_train_epochs=training.num_train_epochs,
        learning_rate=training.learning_rate,
        usual_rate=usual_rate(subject.recipe, subject.recipe.method, size_of(subject.checkpoint.folder)),
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        patience=training.early_stopping_patience,
        load_best=training.load_best_model_at_end,
        num_epochs_done=epochs,
        class_weights=training.weighs_classes(),
    )


def _with_trials(subject: Subject, found: Gathered, measured: Measurements, verdict: Verdict) -> Measurements:
    """Make the trials that the effort asks for, or that what is still open asks for and that are quick."""
    fired = verdict.fired
    if "invalid_run" in fired or "too_little_data" in fired:
        found.absent["trials"] = "there is nothing to hold a trial against"
        return replace(measured, absent=found.absent)
    possible = possible_trials(subject)
    thorough, trains = subject.effort == "thorough", subject.recipe.method.trains
    for further in (False, True):
        kinds = further_trials(verdict) if further else first_trials(verdict, trains=trains, thorough=thorough)
        for kind in possible:
            if kind not in kinds or not (thorough or _quick(subject, kind)):
                continue
            outcome = try_out(subject, kind, possible[kind])
            if isinstance(outcome, Trial):
                found.trials.append(outcome)
            else:
                found.notes.append(outcome)
        measured = replace(measured, trials=list(found.trials))
        verdict = diagnose(measured)
    if not found.trials:
        found.absent.setdefault("trials", "no trial was made, since it would take long")
    return replace(measured, absent=found.absent)


def _quick(subject: Subject, kind: TrialKind) -> bool:
    seconds = seconds_of_run(subject)
    if subject.recipe.method.trains == "head" and kind == "unfrozen":
        # the run took the encoder through the data once, and forwards only
        return size_of(subject.checkpoint.folder) <= SMALL
    return seconds is not None and seconds * FACTORS[kind] <= STANDARD_SECONDS
