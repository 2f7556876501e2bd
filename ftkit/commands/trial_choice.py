"""Which trials are made: those that a verdict asks for, as long as they are quick."""

from __future__ import annotations

from dataclasses import replace

from ftkit.commands.trials import possible_trials, size_of, try_out
from ftkit.diagnosis.diagnose import diagnose
from ftkit.diagnosis.measurements import Measurements, Trial, TrialKind
from ftkit.diagnosis.verdict import Verdict
from ftkit.evaluation.subject import Gathered, Subject
from ftkit.methods.section import Trains

STANDARD_SECONDS = 25.0
"""What a trial may take, by the time that the run took, where none was asked for."""
FACTORS: dict[TrialKind, float] = {
    "rate": 1.2,
    "faster": 1.2,
    "slower": 1.2,
    "longer": 3.2,
    "rank": 1.3,
    "unfrozen": 3.0,
}
"""How much longer than the run a trial takes, about."""

SMALL_ENCODER = 3_000_000
"""Parameters of an encoder that is trained whole in seconds."""


def try_what_is_open(
    subject: Subject, found: Gathered, measured: Measurements, verdict: Verdict
) -> tuple[Measurements, Verdict]:
    """Make the trials that the effort asks for, or that what is still open asks for and that are quick.

    Args:
        subject: a run.
        found: hears of trials that came to nothing, and of why none was made.
        measured: without any trial.
        verdict: on that.

    Returns:
        The measurements with the trials, and the verdict on them.
    """
    if {"invalid_run", "too_little_data"} & set(verdict.fired):
        found.absent["trials"] = "there is nothing to hold a trial against"
        return measured, diagnose(measured)
    possible, trials = possible_trials(subject), found.trials
    thorough, trains = subject.effort == "thorough", subject.recipe.method.trains
    for further in (False, True):
        kinds = further_trials(verdict) if further else first_trials(verdict, trains=trains, thorough=thorough)
        for kind in possible:
            if kind in kinds and (thorough or _is_quick(subject, kind)):
                outcome = try_out(subject, kind, possible[kind])
                if isinstance(outcome, Trial):
                    trials.append(outcome)
                else:
                    found.notes.append(outcome)
        measured = replace(measured, trials=list(trials))
        verdict = diagnose(measured)
    if not trials:
        found.absent.setdefault("trials", "no trial was made, since it would take long")
        verdict = diagnose(measured)
    return measured, verdict


def first_trials(verdict: Verdict, *, trains: Trains, thorough: bool) -> set[TrialKind]:
    """All that may tell of underfitting where asked to be thorough, else those on which something that is open depends.

    The verdict is one without any trial.
    """
    if thorough:
        return {"rate", "longer", "rank", "unfrozen"}
    states = {check.name: check.state for check in verdict.checks}
    learnt_by_heart = {"overfit", "memorised"} & set(verdict.fired)
    frozen = trains == "head"
    wanted: dict[TrialKind, bool] = {
        "rate": states["not_converged"] == "cannot_tell" or states["no_gain"] == "fired",
        # a frozen head is run to its end by default, and early stopping says when that is
        "longer": not learnt_by_heart and not frozen,
        "rank": states["capacity"] == "cannot_tell",
        "unfrozen": states["capacity"] == "cannot_tell" and frozen,
    }
    return {kind for kind, is_wanted in wanted.items() if is_wanted}


def further_trials(verdict: Verdict) -> set[TrialKind]:
    """A rate that is another ten times higher where nothing was learnt, a lower one where it may have been too high."""
    fired = set(verdict.fired)
    wanted: set[TrialKind] = set()
    if "no_gain" in fired:
        wanted.add("faster")
    if {"domain_gap", "forgetting"} <= fired:
        wanted.add("slower")
    return wanted


def _is_quick(subject: Subject, kind: TrialKind) -> bool:
    assert subject.run is not None, "only runs are tried again"
    if subject.recipe.method.trains == "head" and kind == "unfrozen":
        # the run took the encoder through the data once, and forwards only
        return size_of(subject.checkpoint.folder) <= SMALL_ENCODER
    seconds = subject.run.seconds()
    return seconds is not None and max(1.0, seconds) * FACTORS[kind] <= STANDARD_SECONDS
