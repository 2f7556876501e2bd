"""Checks of what was learnt: was too little trained for it, and is it worth more than what there was?"""

from __future__ import annotations

from ftkit.diagnosis.advice import against_capacity, against_no_gain
from ftkit.diagnosis.intervals import (
    Estimate,
    above_train,
    paired_accuracy_gain,
    paired_rise,
    percent,
    rows_needed,
    worst_of,
)
from ftkit.diagnosis.margins import Margins
from ftkit.diagnosis.measurements import Measurements, Trial
from ftkit.diagnosis.trial_gains import gains_of, wanted_gain
from ftkit.diagnosis.verdict import Check, Evidence
from ftkit.metrics.scores import Scores


def check_capacity(found: Measurements, margins: Margins) -> Check:
    """Fires when training has levelled off and a trial with more that is trained learns the train probe better."""
    name = "capacity"
    if found.trains == "weights":
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
    margin = max(margins.above_train, margins.room_share * train.loss)
    evidence = (above.evidence("validation less train, kept model", unit=unit, margin=margin),)
    summary = f"train is learnt better than validation by {above.words()}, so there is room for more than they share"
    # a head on many numbers can learn its few rows by heart and still lack what the task needs
    if found.trains != "head" and above.low > margin and above.n >= margins.held_out:
        return Check("capacity", "clear", summary, evidence)
    if base is None or len(base) != len(train) or not base.loss > 0:
        return None
    left = train.loss / base.loss
    evidence = (Evidence("training loss, of the base's", left, None, None, margins.loss_left, "share", len(train)),)
    if left < margins.loss_left:
        return Check("capacity", "clear", f"{percent(left)} of the base's loss on train are left", evidence)
    return None


def _by_more_weights(found: Measurements, trial: Trial, margins: Margins) -> Check | None:
    gains = gains_of(found, trial)
    if gains is None:
        return None
    (train, validation), wanted = gains, wanted_gain(found, margins, margins.capacity_share)
    # more trained weights learn faster as well; what more time would bring too is not for want of them
    longer = [again for other in found.trials if other.kind == "longer" and (again := gains_of(found, other))]
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
    if found.unit != "example":
        gain = paired_rise(base, kept, groups=found.groups.get("validation"), seed=found.seed)
        evidence = (gain.evidence("validation loss, better than the base by", unit="nat a token", margin=margins.gain),)
        summary = f"on validation it is better than the base by {gain.words()} a token"
        return _gain_check(found, gain, summary, evidence, margins, least=margins.gain)
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
    return _gain_check(found, gain, summary, evidence, margins, least=least)


def _behind_fitted(found: Measurements, kept: Scores, fitted: dict[str, Scores], margins: Margins) -> Check | None:
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
        needs = f"about {found.rows(wanted)}" if wanted else ""
        return Check("no_gain", "cannot_tell", f"{summary}, which chance gives too easily", evidence, needs=needs, p=p)
    return Check("no_gain", "clear", summary, evidence, p=p)


def _gain_check(
    found: Measurements,
    gain: Estimate,
    summary: str,
    evidence: tuple[Evidence, ...],
    margins: Margins,
    *,
    least: float,
) -> Check:
    """Clear where there is a gain, fired where there is less than a practical one; between them it cannot tell."""
    name = "no_gain"
    if gain.low > 0:
        return Check(name, "clear", summary, evidence)
    if gain.value <= least and gain.n >= margins.held_out:
        return Check(name, "fired", summary, evidence, changes=against_no_gain(), p=gain.p_below(least))
    wanted = rows_needed(gain, 0.0)
    needs = f"about {found.rows(wanted)}" if wanted else found.rows(margins.gain_rows)
    return Check(name, "cannot_tell", summary, evidence, needs=needs)
