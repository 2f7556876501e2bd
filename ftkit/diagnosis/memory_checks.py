"""Checks of overfitting and forgetting: what was memorised, where validation turned, what the base knew and lost."""

from __future__ import annotations

import numpy as np

from ftkit.diagnosis.advice import against_forgetting, against_memory, against_overfit
from ftkit.diagnosis.intervals import (
    Estimate,
    above_train,
    membership,
    paired_rise,
    percent,
    rate_bounds,
    rows_needed,
    worst_of,
)
from ftkit.diagnosis.margins import Margins
from ftkit.diagnosis.measurements import Measurements, Set
from ftkit.diagnosis.verdict import Check, Evidence
from ftkit.metrics.scores import CurvePoint, Floats, Scores


def check_memorised(found: Measurements, margins: Margins) -> Check:
    """Fires when training examples are told from validation by their loss, or written word for word and those not."""
    copied = _by_reproduction(found, margins)
    told = _by_membership(found, margins)
    fired = [check for check in (copied, told) if check.state == "fired"]
    if fired:
        return min(fired, key=lambda check: 1.0 if check.p is None else check.p)
    return told if told.state == "clear" or copied.state != "clear" else copied


def _by_membership(found: Measurements, margins: Margins) -> Check:
    name, kept = "memorised", found.kept
    train, validation = found.of(kept, "train"), found.of(kept, "validation")
    if train is None or validation is None:
        return Check(name, "cannot_tell", "train and validation were not both scored")
    ours, theirs = _less_base(found, "train", train), _less_base(found, "validation", validation)
    area = membership(_means(ours), _means(theirs), seed=found.seed)
    evidence = (
        area.evidence("area under the curve of telling train from validation", unit="", margin=margins.membership),
    )
    summary = (
        f"by its loss a training example is told from a validation one with an area under the curve of {area.words('')}"
    )
    above = above_train(theirs, ours, seed=found.seed)
    p = worst_of([area.p_above(margins.membership), above.p_above(margins.memory_gap)])
    # a difference may tell the two apart without fail and yet be too small to matter
    if area.value <= margins.membership or above.value <= margins.memory_gap:
        return Check(name, "clear", summary, evidence, p=p)
    least = margins.membership_rows
    if len(train) < least or len(validation) < least:
        needs = f"{least} rows each of train and validation"
        return Check(name, "cannot_tell", summary, evidence, needs=needs)
    return Check(name, "fired", summary, evidence, changes=against_memory(found), p=p)


def _less_base(found: Measurements, which: Set, losses: Scores) -> Scores:
    """Losses less those of the base, where there is one: what is hard for both tells nothing, nor what is easy."""
    base = found.of("base", which)
    if found.unit == "example" or base is None or len(base) != len(losses):
        return losses
    return Scores(losses.nll - base.nll, losses.num_targets, losses.num_correct)


def _means(losses: Scores) -> Floats:
    return np.asarray(losses.nll / np.maximum(1, losses.num_targets), dtype=np.float64)


def _by_reproduction(found: Measurements, margins: Margins) -> Check:
    name, copied = "memorised", found.reproduction
    if copied is None or not len(copied.train) or not len(copied.validation):
        return Check(name, "cannot_tell", found.absent.get("reproduction", "nothing was let write"))
    train, validation = int(copied.train.sum()), int(copied.validation.sum())
    n, m = len(copied.train), len(copied.validation)
    bounds, others = rate_bounds(train, n), rate_bounds(validation, m)
    evidence = (
        Evidence("training examples written word for word", train / n, *bounds, None, "share", n),
        Evidence("validation examples written word for word", validation / m, *others, None, "share", m),
    )
    summary = f"{train} of {n} training examples are written word for word, {validation} of {m} of validation"
    rise = _rate_difference(copied.train, copied.validation, seed=found.seed)
    p = rise.p_above(margins.reproduced)
    # what is written word for word of validation too was not learnt by heart
    if rise.value <= margins.reproduced or validation / m > margins.reproduced:
        return Check(name, "clear", summary, evidence, p=p)
    if min(n, m) < margins.gap_rows:
        return Check(name, "cannot_tell", summary, evidence, needs=f"{margins.gap_rows} rows of each")
    return Check(name, "fired", summary, evidence, changes=against_memory(found), p=p)


def _rate_difference(above: np.ndarray, below: np.ndarray, *, seed: int) -> Estimate:
    random = np.random.default_rng([seed, 6])
    drawn = random.binomial(len(above), above.mean(), 2_000) / len(above) - random.binomial(
        len(below), below.mean(), 2_000
    ) / len(below)
    low, high = (float(bound) for bound in np.percentile(drawn, [2.5, 97.5]))
    return Estimate(float(above.mean() - below.mean()), low, high, min(len(above), len(below)), drawn)


def check_overfit(found: Measurements, margins: Margins) -> Check:
    """Fires when validation has risen since the best checkpoint and lies above the train probe."""
    name, last = "overfit", _last(found)
    if last is None:
        return Check(name, "cannot_tell", found.absent.get("final/validation", "the last weights were not scored"))
    train, validation = last
    above = above_train(
        validation,
        train,
        groups=found.groups.get("validation"),
        train_groups=found.groups.get("train"),
        seed=found.seed,
    )
    unit = found.nats
    gap = above.evidence("validation less train, at the end", unit=unit, margin=margins.above_train)
    if (best := _best(found)) is None:
        summary = f"validation lies {above.words()} above train; how it got there is not known"
        return Check(name, "cannot_tell", summary, (gap,), needs="the evaluations of the training")
    rise = paired_rise(validation, best[1], groups=found.groups.get("validation"), seed=found.seed)
    evidence = (rise.evidence(f"validation, end less step {best[0]:,}", unit=unit, margin=margins.risen), gap)
    summary = (
        f"the validation loss has risen {rise.words()} since step {best[0]:,} and lies {above.words()} above train"
    )
    if rise.value == 0 and best[0] == _last_step(found):
        summary = f"validation was best at the last step and lies {above.words()} above train"
    p = worst_of([rise.p_above(margins.risen), above.p_above(margins.above_train)])
    if rise.value <= margins.risen or above.value <= margins.above_train:
        return Check(name, "clear", summary, evidence, p=p)
    wanted = rows_needed(rise, margins.risen)
    if rise.n < margins.held_out:
        return Check(name, "cannot_tell", summary, evidence, needs=found.rows(margins.held_out))
    needs = f"about {found.rows(max(wanted, margins.gap_rows))}" if wanted else ""
    return Check(name, "fired", summary, evidence, needs=needs, changes=against_overfit(found, best[0]), p=p)


def _last_step(found: Measurements) -> int | None:
    return found.curve[-1].step if found.curve else None


def _last(found: Measurements) -> tuple[Scores, Scores] | None:
    if found.curve:
        return found.curve[-1].train, found.curve[-1].validation
    train = found.of("final", "train") or found.of(found.kept, "train")
    validation = found.of("final", "validation")
    return None if train is None or validation is None else (train, validation)


def _best(found: Measurements) -> tuple[int, Scores] | None:
    """Step and losses of the evaluation with the lowest validation loss; the start of training does not count."""
    points: list[CurvePoint] = [point for point in found.curve if point.step > 0]
    if not points:
        return None
    best = min(points, key=lambda point: point.validation.loss)
    return best.step, best.validation


def check_forgetting(found: Measurements, margins: Margins) -> Check:
    """Fires when the loss on what the base knew has risen by more than the margin."""
    name, how = "forgetting", found.forgetting
    if how.kind == "none":
        return Check(name, "clear", how.reason)
    before, after = found.of("base", "reference"), found.of(found.kept, "reference")
    if how.kind == "unknown" or before is None or after is None:
        return Check(name, "cannot_tell", how.reason or "the reference was not scored")
    rise = paired_rise(after, before, groups=found.groups.get("reference"), seed=found.seed)
    what = {
        "kl": "divergence from the base, on text that it wrote itself",
        "reference": "rise of the loss on the reference",
        "denoising": "rise of the loss on the reference with holes",
        "masked": "rise of the loss of masked tokens",
    }[how.kind]
    evidence = [rise.evidence(what, unit="nat a token", margin=margins.forgotten)]
    summary = f"{what}: {rise.words()} a token"
    fires = rise.value > margins.forgotten
    if how.readout_lost is not None:
        lost = how.readout_lost
        evidence.append(Evidence("share of the base's representation that is lost", lost, None, None,
                                 margins.readout_lost, "share", rise.n))  # fmt: skip
        summary += f"; {percent(lost)} of the representation can no longer be read out"
        fires = fires and lost > margins.readout_lost
    p = rise.p_above(margins.forgotten)
    if how.removable:
        text = f"{summary}; it is the prompt's doing, and without the prompt the base is as it was"
        return Check(name, "clear", text, evidence, p=p)
    if not fires:
        return Check(name, "clear", summary, evidence, p=p)
    if rise.n < margins.reference_rows // 3:
        return Check(name, "cannot_tell", summary, evidence, needs=f"{margins.reference_rows} documents of reference")
    return Check(name, "fired", summary, evidence, changes=against_forgetting(found, rise.value), p=p)
