"""From measurements to a verdict: every check, Holm's correction over them, the headline and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ftkit.diagnosis.convergence import check_convergence
from ftkit.diagnosis.data_checks import check_collapse, check_label_noise, check_leakage, check_run, check_size
from ftkit.diagnosis.domain_checks import check_domain_gap
from ftkit.diagnosis.fit_checks import check_capacity, check_gain
from ftkit.diagnosis.intervals import holm, percent
from ftkit.diagnosis.margins import MARGINS, Margins
from ftkit.diagnosis.measurements import Measurements
from ftkit.diagnosis.memory_checks import check_forgetting, check_memorised, check_overfit
from ftkit.diagnosis.verdict import CHECKS, TITLES, Change, Check, Verdict

CHECKED_BY = {
    "invalid_run": check_run,
    "leakage": check_leakage,
    "class_collapse": check_collapse,
    "label_noise": check_label_noise,
    "not_converged": check_convergence,
    "capacity": check_capacity,
    "domain_gap": check_domain_gap,
    "memorised": check_memorised,
    "overfit": check_overfit,
    "forgetting": check_forgetting,
    "no_gain": check_gain,
    "too_little_data": check_size,
}
ESSENTIAL = ("not_converged", "overfit", "no_gain")
"""Checks without which a run is not called healthy, whatever it is that they cannot tell."""


def diagnose(found: Measurements, margins: Margins = MARGINS) -> Verdict:
    """Judge a run.

    Args:
        found: what was measured.
        margins: what a check has to clear.

    Returns:
        The first check that fires, the gravest first, is the headline; all are listed.
    """
    checks = _corrected([CHECKED_BY[name](found, margins) for name in CHECKS], margins)
    if checks[-1].state == "fired":
        # below the least number of rows nothing that is drawn from them counts
        checks = [_withheld(check) for check in checks]
    checks = _in_their_order(checks)
    open_ones = [
        check for check in checks if check.state == "cannot_tell" and (check.name in ESSENTIAL or check.essential)
    ]
    headline = _headline(open_ones, checks)
    sentence = _sentence(headline, checks, open_ones)
    return Verdict(headline, sentence, _good_for(headline, checks, found), checks, _changes(checks))


def _corrected(checks: list[Check], margins: Margins) -> list[Check]:
    """Take back what does not stand when all checks of a run are looked at together."""
    tested = {check.name: check.p for check in checks if check.p is not None}
    standing = holm(tested, level=margins.family_error)
    found = []
    for check in checks:
        if check.state == "fired" and check.p is not None and check.name not in standing:
            summary = f"{check.summary}: more than the margin, but by chance too easily (p {check.p:.3f})"
            found.append(replace(check, state="cannot_tell", summary=summary, changes=()))
        else:
            found.append(replace(check, needs="") if check.state in {"fired", "clear"} else check)
    return found


EXACT = ("invalid_run", "too_little_data")


def _withheld(check: Check) -> Check:
    if check.state != "fired" or check.name in EXACT:
        return check
    return replace(check, state="cannot_tell", changes=(), needs="more of validation")


def _in_their_order(checks: Sequence[Check]) -> list[Check]:
    """What follows from another check that fired says so, instead of firing on its own."""
    fired = {check.name for check in checks if check.state == "fired"}
    found = []
    for check in checks:
        if check.name == "capacity" and check.state == "fired" and "not_converged" in fired:
            summary = f"{check.summary}; but training had not converged, which comes first"
            check = replace(check, state="cannot_tell", summary=summary, changes=())
        if check.name == "class_collapse" and check.state == "fired" and "not_converged" in fired:
            summary = f"{check.summary}; but hardly anything was learnt yet, which comes first"
            check = replace(check, state="cannot_tell", summary=summary, changes=())
        found.append(check)
    return found


def _headline(open_ones: Sequence[Check], checks: Sequence[Check]) -> str:
    states = {check.name: check.state for check in checks}
    for name in CHECKS:
        if states[name] == "fired":
            return name
    return "cannot_tell" if open_ones else "healthy"


def _sentence(headline: str, checks: Sequence[Check], open_ones: Sequence[Check]) -> str:
    by_name = {check.name: check for check in checks}
    if headline in by_name:
        text = by_name[headline].summary
    elif headline == "cannot_tell":
        needs = "; ".join(dict.fromkeys(check.needs for check in open_ones if check.needs))
        names = ", ".join(TITLES[check.name].lower() for check in open_ones)
        text = f"nothing fired, but it cannot be told apart from: {names}" + (
            f"; it would take {needs}" if needs else ""
        )
    else:
        text = f"no check fired; {by_name['no_gain'].summary}"
        untold = [check.name.replace("_", " ") for check in checks if check.state == "cannot_tell"]
        if untold:
            text += f"; not told: {', '.join(untold)}"
    return f"{text[0].upper()}{text[1:]}"


def _good_for(headline: str, checks: Sequence[Check], found: Measurements) -> str:
    """What can be done with the model that was kept, whatever the training did after it."""
    states = {check.name: check.state for check in checks}
    kept = found.of(found.kept, "validation")
    if headline == "invalid_run":
        return "nothing: the figures cannot be trusted"
    if kept is None:
        return "what nobody has measured: no rows are held out"
    if states["leakage"] == "fired":
        return "nothing that its held-out figures promise: they were partly seen in training"
    if states["class_collapse"] == "fired" or states["no_gain"] == "fired":
        return "nothing that a simpler answer would not do"
    if headline == "too_little_data":
        return "a first impression; its figures have wide intervals"
    how = f"{percent(kept.accuracy)} of the {'answers' if found.unit == 'example' else 'tokens'} right on validation"
    caveats = []
    if states["forgetting"] == "fired":
        caveats.append("for this task alone: what the base could do besides is partly gone")
    if states["overfit"] == "fired":
        caveats.append(
            "the kept weights are those from before it turned"
            if found.kept == "best"
            else "the kept weights are the overfitted ones"
        )
    if states["memorised"] == "fired":
        caveats.append("it gives away its training rows")
    if any(states[name] == "fired" for name in ("not_converged", "capacity", "domain_gap")):
        caveats.append("it could be better")
    if states["label_noise"] == "fired":
        caveats.append("part of what it is measured by is wrong itself, if validation is labelled like train")
    text = "data like these: " + how
    return text + (f"; {'; '.join(caveats)}" if caveats else "")


UNLEARNT = ("not_converged", "capacity")
"""What is cured by learning more."""
OVERDONE = ("memorised", "overfit", "forgetting")
"""What is cured by learning less."""


def _changes(checks: Sequence[Check]) -> list[Change]:
    """What the checks that fired advise; where more has to be learnt first, not what would keep it from that."""
    found: dict[str, Change] = {}
    fired = [check for check in checks if check.state == "fired"]
    unlearnt = [TITLES[check.name].lower() for check in fired if check.name in UNLEARNT]
    for check in fired:
        if unlearnt and check.name in OVERDONE:
            why = f"{TITLES[check.name].lower()} asks for the opposite: evaluate again when {unlearnt[0]} is cured"
            found.setdefault(why, Change("", None, why))
            continue
        for change in check.changes:
            # the graver check has the word on a key
            found.setdefault(change.key or change.why, change)
    return list(found.values())
