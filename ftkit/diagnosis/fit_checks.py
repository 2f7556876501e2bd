"""Checks of underfitting: not converged, too little capacity, no gain."""

from __future__ import annotations

import math

from ftkit.diagnosis.advice import against_capacity, against_no_gain, against_slowness
from ftkit.diagnosis.intervals import (
    Estimate,
    above_train,
    pace,
    paired_accuracy_gain,
    paired_rise,
    percent,
    rows_needed,
    worst_of,
)
from ftkit.diagnosis.margins import Margins
from ftkit.diagnosis.measurements import CurvePoint, ExampleLosses, Measurements, Trial
from ftkit.diagnosis.verdict import Check, Evidence, State


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
    gained = _gained(found)
    if not longer or gained is None:
        return False
    gains = _gains_of(found, longer[0])
    return gains is not None and gains[1].value <= margins.levelled * gained


def _gained(found: Measurements) -> float | None:
    """Nats by which the kept model is better on validation than training began; None where that is not known."""
    kept = found.of(found.kept, "validation")
    if kept is None or not found.curve or found.curve[0].step != 0:
        return None
    return found.curve[0].validation.loss - kept.loss


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
        return Check(name, "cannot_tell", summary, evidence, needs=f"{margins.held_out} validation rows")
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
    gains = _gains_of(found, trial)
    if gains is None:
        return Check(name, "cannot_tell", f"{trial.words}: nothing to hold it against")
    # a higher rate may be a little better without this one being wrong; three times the steps always are
    share = margins.longer_share if trial.kind == "longer" else margins.trial_share
    (train, validation), wanted = gains, _wanted(found, margins, share)
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


def _gains_of(found: Measurements, trial: Trial) -> tuple[Estimate, Estimate] | None:
    kept = found.kept
    train, validation = found.of(kept, "train"), found.of(kept, "validation")
    if train is None or validation is None or len(train) != len(trial.train):
        return None
    if len(validation) != len(trial.validation):
        return None
    return (
        paired_rise(train, trial.train, seed=found.seed),
        paired_rise(validation, trial.validation, seed=found.seed),
    )


def _wanted(found: Measurements, margins: Margins, share: float) -> float:
    """Nats that a trial has to gain: the margin, a share of what the loss is on validation, and one of what it was."""
    validation = found.of(found.kept, "validation")
    left = share * (validation.loss if validation is not None else 0.0)
    return max(margins.trial_gain, left, margins.further_share * (_gained(found) or 0.0))


def check_capacity(found: Measurements, margins: Margins) -> Check:
    """Fires when training has levelled off and a trial with more that is trained learns the train probe better."""
    name = "capacity"
    if found.method == "full":
        return Check(name, "not_applicable", "every weight is trained already")
    trials = [trial for trial in found.trials if trial.kind in {"unfrozen", "rank"}]
    if not trials:
        if (enough := _fits_train(found, margins)) is not None:
            return enough
        reason = found.absent.get("trials", "no trial with more trained weights was made")
        return Check(name, "cannot_tell", reason, needs="--thorough")
    judged = [check for trial in trials if (check := _by_more_weights(found, trial, margins)) is not None]
    fired = [check for check in judged if check.state == "fired"]
    return fired[0] if fired else judged[0] if judged else Check(name, "cannot_tell", "the trial could not be compared")


def _fits_train(found: Measurements, margins: Margins) -> Check | None:
    """Clear without any trial where train is learnt so much better than validation that capacity is not what lacks."""
    train, validation = found.of(found.kept, "train"), found.of(found.kept, "validation")
    base = found.of("base", "train")
    if train is None or validation is None:
        return None
    above = above_train(validation, train, seed=found.seed)
    unit = f"{found.nats}"
    evidence = (above.evidence("validation less train, kept model", unit=unit, margin=margins.above_train),)
    summary = f"train is learnt better than validation by {above.words()}, so there is room for more than they share"
    # a head on many numbers can learn its few rows by heart and still lack what the task needs
    if found.method != "frozen" and above.low > margins.above_train and above.n >= margins.held_out:
        return Check("capacity", "clear", summary, evidence)
    if base is None or len(base) != len(train) or not base.loss > 0:
        return None
    left = train.loss / base.loss
    evidence = (Evidence("training loss, of the base's", left, None, None, margins.loss_left, "share", len(train)),)
    if left < margins.loss_left:
        return Check("capacity", "clear", f"{percent(left)} of the base's loss on train are left", evidence)
    return None


def _by_more_weights(found: Measurements, trial: Trial, margins: Margins) -> Check | None:
    gains = _gains_of(found, trial)
    if gains is None:
        return None
    (train, validation), wanted = gains, _wanted(found, margins, margins.capacity_share)
    # more trained weights learn faster as well; what more time would bring too is not for want of them
    longer = [again for other in found.trials if other.kind == "longer" and (again := _gains_of(found, other))]
    wanted = max([wanted, *(on_validation.value for _, on_validation in longer)])
    unit = f"{found.nats}"
    evidence = (
        train.evidence(f"{trial.words}: gain on the train probe", unit=unit, margin=0.0),
        validation.evidence(f"{trial.words}: gain on validation", unit=unit, margin=wanted),
    )
    summary = f"{trial.words} lowers the training loss by {train.words()} and validation by {validation.words()}"
    p = worst_of([train.p_above(0.0), validation.p_above(wanted)])
    if train.value <= 0 or validation.value <= wanted:
        return Check("capacity", "clear", summary, evidence, p=p)
    if train.n < margins.probe_rows:
        return Check("capacity", "cannot_tell", summary, evidence, needs=f"{margins.probe_rows} training rows")
    return Check("capacity", "fired", summary, evidence, changes=against_capacity(trial), p=p)


def check_gain(found: Measurements, margins: Margins) -> Check:
    """Fires when the kept model is no better than what there is without finetuning, or behind a simple fitted one."""
    name, kept = "no_gain", found.of(found.kept, "validation")
    base = found.of("base", "validation")
    fitted = {rival: sets["validation"] for rival, sets in found.baselines.items() if "validation" in sets}
    if kept is None or base is None or len(base) != len(kept):
        return Check(name, "cannot_tell", found.absent.get("baselines", "there is nothing to compare it with"))
    if found.task != "classification":
        gain = paired_rise(base, kept, groups=found.groups.get("validation"), seed=found.seed)
        evidence = (gain.evidence("validation loss, better than the base by", unit="nat a token", margin=margins.gain),)
        summary = f"on validation it is better than the base by {gain.words()} a token"
        return _gain_check(gain, summary, evidence, margins, least=margins.gain)
    behind = _behind_fitted(found, kept, fitted, margins)
    if behind is not None and behind.state != "clear":
        return behind
    gain = paired_accuracy_gain(kept, base, seed=found.seed)
    least = margins.baseline_ahead
    evidence = (gain.evidence("share right on validation, more than the commonest label", unit="share", margin=least),)
    rivals = ", ".join(f"{percent(losses.accuracy)} by {rival}" for rival, losses in fitted.items())
    summary = f"{percent(kept.accuracy)} of validation are right, {percent(base.accuracy)} by the commonest label" + (
        f", {rivals}" if rivals else ""
    )
    return _gain_check(gain, summary, evidence, margins, least=least)


def _behind_fitted(
    found: Measurements, kept: ExampleLosses, fitted: dict[str, ExampleLosses], margins: Margins
) -> Check | None:
    """Fired where a model fitted to words or stored vectors is clearly ahead: it costs nothing and does better."""
    rivals = {name: losses for name, losses in fitted.items() if len(losses) == len(kept)}
    if not rivals or len(kept) < margins.held_out:
        return None
    best = max(rivals, key=lambda rival: rivals[rival].accuracy)
    gain = paired_accuracy_gain(kept, rivals[best], seed=found.seed)
    least = -margins.baseline_ahead
    if gain.value > least:
        return None
    evidence = (gain.evidence(f"share right on validation, more than {best}", unit="share", margin=least),)
    summary = f"{percent(kept.accuracy)} of validation are right, {percent(rivals[best].accuracy)} by {best}"
    p = gain.p_below(least)
    if p <= margins.family_error / 10:
        return Check("no_gain", "fired", summary, evidence, changes=against_no_gain(), p=p)
    if gain.high < least:
        wanted = rows_needed(gain, least)
        needs = f"about {wanted:,} validation rows" if wanted else ""
        return Check("no_gain", "cannot_tell", f"{summary}, which chance gives too easily", evidence, needs=needs, p=p)
    return Check("no_gain", "clear", summary, evidence, p=p)


def _gain_check(
    gain: Estimate, summary: str, evidence: tuple[Evidence, ...], margins: Margins, *, least: float
) -> Check:
    """Clear where there is a gain, fired where there is less than a practical one; between them it cannot tell."""
    name = "no_gain"
    if gain.low > 0:
        return Check(name, "clear", summary, evidence)
    if gain.value <= least and gain.n >= margins.held_out:
        return Check(name, "fired", summary, evidence, changes=against_no_gain(), p=gain.p_below(least))
    wanted = rows_needed(gain, 0.0)
    needs = f"about {wanted:,} validation rows" if wanted else f"{margins.gain_rows} validation rows"
    return Check(name, "cannot_tell", summary, evidence, needs=needs)
