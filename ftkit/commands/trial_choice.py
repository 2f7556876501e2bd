"""Which trials a first verdict asks for."""

from __future__ import annotations

from ftkit.diagnosis.measurements import TrialKind
from ftkit.diagnosis.verdict import Verdict
from ftkit.methods.section import Trains


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
