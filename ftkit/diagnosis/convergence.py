"""The check of convergence: by the pace of learning on the way, and by what trials learn."""

from __future__ import annotations

import math

from ftkit.diagnosis.advice import against_slowness
from ftkit.diagnosis.intervals import pace, paired_rise, percent, worst_of
from ftkit.diagnosis.margins import Margins
from ftkit.diagnosis.measurements import Measurements, Trial
from ftkit.diagnosis.trial_gains import gained, gains_of, wanted_gain
from ftkit.diagnosis.verdict import Check, State
from ftkit.metrics.scores import CurvePoint


def check_convergence(found: Measurements, margins: Margins) -> Check:
    """Fires when training still learnt at its mean pace, or a trial with larger or more steps learnt much more."""
    slow = _by_pace(found, margins)
    trials = [trial for trial in found.trials if trial.kind in {"rate", "faster", "longer"}]
    # the one that learnt most comes first
    trials = sorted(trials, key=lambda trial: trial.validation.loss)
    tried = [_by_trial(found, trial, margins) for trial in trials]
    if fired := [check for check in tried if check.state == "fired"]:
        return fired[0]
    all_clear = bool(tried) and all(check.state == "clear" for check in tried)
    # what a trial leaves open does not unsettle a curve that has levelled off
    if all_clear and (slow.state == "cannot_tell" or (slow.state == "fired" and _has_levelled(found, margins))):
        return tried[0]
    return slow


def _has_levelled(found: Measurements, margins: Margins) -> bool:
    """Whether three times the length brought little of what the run itself had gained, whatever its pace at the end.

    A loss that stays where it is at first and falls late has a pace above its mean until it is done. Where a rate is
    far too small, three times the length brings twice as much again.
    """
    longer = [trial for trial in found.trials if trial.kind == "longer"]
    before = gained(found)
    if not longer or before is None:
        return False
    gains = gains_of(found, longer[0])
    return gains is not None and gains[1].value <= margins.levelled * before


def _by_pace(found: Measurements, margins: Margins) -> Check:
    """Still learning only where the second half of the training and its end both kept up the mean pace."""
    judged = [_pace_since(found, share, margins) for share in (0.5, 0.8)]
    known = [check for check in judged if check is not None]
    if not known:
        reason = found.absent.get("curve", "too few evaluations were made on the way to see a curve")
        return Check("not_converged", "cannot_tell", reason, needs="training.eval_strategy: steps, or --thorough")
    order = ("clear", "cannot_tell", "fired")
    return min(known, key=lambda check: (order.index(check.state), -(check.p or 0.0)))


def _pace_since(found: Measurements, share: float, margins: Margins) -> Check | None:
    name, points = "not_converged", _start_middle_end(found, share)
    if points is None:
        return None
    start, middle, end = points
    n = min(len(end.train), len(end.validation))
    left = (end.rate_mass - middle.rate_mass) / (end.rate_mass - start.rate_mass)
    on = {
        "train": (start.train, middle.train, end.train),
        "validation": (start.validation, middle.validation, end.validation),
    }
    speeds = {which: pace(*three, share_left=left, seed=found.seed) for which, three in on.items()}
    gains = {which: paired_rise(three[0], three[2], seed=found.seed) for which, three in on.items()}
    evidence = tuple(
        speeds[which].evidence(f"pace of learning at the end, {which}", unit="of the mean pace", margin=margins.pace)
        for which in speeds
    )
    done = (middle.step - start.step) / max(1, end.step - start.step)
    # a curve that does not fall has no pace
    if any(math.isnan(speed.value) or gains[which].low <= 0 for which, speed in speeds.items()):
        fell = gains["train"].low > 0
        state: State = "clear" if fell else "cannot_tell"
        which = "validation" if fell else "train"
        needs = "" if fell else "--thorough, which tries a higher rate"
        return Check(name, state, f"the {which} loss did not fall over the training as a whole", evidence, needs=needs)
    summary = (
        f"after {percent(done)} of the steps the loss still fell at {percent(speeds['train'].value)} of its mean pace "
        f"on train and {percent(speeds['validation'].value)} on validation"
    )
    p = worst_of([speed.p_above(margins.pace) for speed in speeds.values()])
    left_over = end.validation.loss / start.validation.loss
    if left_over < margins.loss_left:
        # a loss ends at zero, so there is little left to fall
        return Check(name, "clear", f"{summary}; {percent(left_over)} of it are left", evidence, p=p)
    if any(speed.value <= margins.pace for speed in speeds.values()):
        return Check(name, "clear", summary, evidence, p=p)
    if n < margins.held_out:
        return Check(name, "cannot_tell", summary, evidence, needs=found.rows(margins.held_out))
    return Check(name, "fired", summary, evidence, changes=against_slowness(found, speeds["train"].value), p=p)


def _start_middle_end(found: Measurements, share: float) -> tuple[CurvePoint, CurvePoint, CurvePoint] | None:
    points = [point for point in found.curve if len(point.train) and len(point.validation)]
    if len(points) < 3 or points[0].step != 0:
        return None
    start, end = points[0], points[-1]
    total = end.rate_mass - start.rate_mass
    if total <= 0:
        return None
    between = [p for p in points[1:-1] if 0.25 <= (p.rate_mass - start.rate_mass) / total <= 0.9]
    if not between:
        return None
    return start, min(between, key=lambda p: abs((p.rate_mass - start.rate_mass) / total - share)), end


def _by_trial(found: Measurements, trial: Trial, margins: Margins) -> Check:
    name = "not_converged"
    gains = gains_of(found, trial)
    if gains is None:
        return Check(name, "cannot_tell", f"{trial.words}: nothing to hold it against")
    # a higher rate may be a little better without this one being wrong; three times the steps always are
    share = margins.longer_share if trial.kind == "longer" else margins.trial_share
    (train, validation), wanted = gains, wanted_gain(found, margins, share)
    evidence = (
        train.evidence(f"{trial.words}: gain on the train probe", unit=f"{found.nats}", margin=wanted),
        validation.evidence(f"{trial.words}: gain on validation", unit=f"{found.nats}", margin=wanted / 2),
    )
    summary = f"{trial.words} lowers the training loss by {train.words()} and validation by {validation.words()}"
    p = worst_of([train.p_above(wanted), validation.p_above(wanted / 2)])
    if train.value <= wanted or validation.value <= wanted / 2:
        return Check(name, "clear", summary, evidence, p=p)
    if train.n < margins.held_out or validation.n < margins.held_out:
        return Check(name, "cannot_tell", summary, evidence, needs=f"{margins.held_out} rows")
    if p > margins.family_error / 10:
        return Check(name, "cannot_tell", f"{summary}, which chance gives too easily", evidence, p=p)
    return Check(name, "fired", summary, evidence, changes=against_slowness(found, 1.0, trial), p=p)
