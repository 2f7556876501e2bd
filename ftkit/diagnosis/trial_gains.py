"""What a trial gained over the kept model, and what it has to gain to mean something."""

from __future__ import annotations

from ftkit.diagnosis.intervals import Estimate, paired_rise
from ftkit.diagnosis.margins import Margins
from ftkit.diagnosis.measurements import Measurements, Trial


def gained(found: Measurements) -> float | None:
    """Nats by which the kept model is better on validation than training began; None where that is not known."""
    kept = found.of(found.kept, "validation")
    if kept is None or not found.curve or found.curve[0].step != 0:
        return None
    return found.curve[0].validation.loss - kept.loss


def gains_of(found: Measurements, trial: Trial) -> tuple[Estimate, Estimate] | None:
    """Nats by which a trial is better than the kept model on train and on validation; None where rows differ."""
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


def wanted_gain(found: Measurements, margins: Margins, share: float) -> float:
    """Nats that a trial has to gain: the margin, a share of what the loss is on validation, and one of what it was."""
    validation = found.of(found.kept, "validation")
    left = share * (validation.loss if validation is not None else 0.0)
    return max(margins.trial_gain, left, margins.further_share * (gained(found) or 0.0))
