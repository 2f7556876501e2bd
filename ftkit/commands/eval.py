"""`ftkit eval` of one subject, top to bottom: measure, diagnose, try out what is left open, report."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from ftkit.commands.trial_choice import first_trials, further_trials
from ftkit.commands.trials import STANDARD_SECONDS, possible_trials, seconds_of_run, size_of, try_out, usual_rate
from ftkit.diagnosis.diagnose import diagnose
from ftkit.diagnosis.measurements import Measurements, Setting, Trial, TrialKind
from ftkit.diagnosis.report import Report
from ftkit.diagnosis.verdict import Verdict
from ftkit.evaluation.integrity import drift, find_faults
from ftkit.evaluation.leaks import find_leaks, repeated_share
from ftkit.evaluation.reporting import make_report
from ftkit.evaluation.subject import Gathered, Subject

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


def evaluate_subject(subject: Subject) -> Report:
    """Measure a run or a model and say what is wrong with it.

    Raises:
        UserError: a model, a base or a reference that cannot be read.
    """
    began = time.perf_counter()
    found = _measure(subject)
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


def _measure(subject: Subject) -> Gathered:
    task = subject.recipe.task
    if task == "classification":
        from ftkit.tasks.classification.evaluate import measure_classifier

        return measure_classifier(subject)
    if task == "causal_lm":
        from ftkit.tasks.causal_lm.evaluate import measure_language_model

        return measure_language_model(subject)
    from ftkit.tasks.seq2seq.evaluate import measure_seq2seq

    return measure_seq2seq(subject)


def as_measurements(subject: Subject, found: Gathered) -> Measurements:
    """What was gathered, as the diagnosis takes it."""
    return Measurements(
        task=subject.recipe.task,
        method=subject.recipe.method.type,
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
        usual_rate=usual_rate(subject.recipe, subject.recipe.method.type, size_of(subject.checkpoint.folder)),
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        patience=training.early_stopping_patience,
        load_best=training.load_best_model_at_end,
        num_epochs_done=epochs,
        class_weights=training.class_weights,
    )


def _with_trials(subject: Subject, found: Gathered, measured: Measurements, verdict: Verdict) -> Measurements:
    """Make the trials that the effort asks for, or that what is still open asks for and that are quick."""
    fired = verdict.fired
    if "invalid_run" in fired or "too_little_data" in fired:
        found.absent["trials"] = "there is nothing to hold a trial against"
        return replace(measured, absent=found.absent)
    possible = possible_trials(subject)
    thorough, method = subject.effort == "thorough", subject.recipe.method.type
    for further in (False, True):
        kinds = further_trials(verdict) if further else first_trials(verdict, method=method, thorough=thorough)
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
