"""What to change in the recipe, computed from the evidence."""

from __future__ import annotations

import math

from ftkit.diagnosis.measurements import Measurements, Trial
from ftkit.diagnosis.trial_gains import gained, gains_of
from ftkit.diagnosis.verdict import Change

RATE = "training.learning_rate"
DROP = "data.drop_duplicates"
EPOCHS = "training.num_train_epochs"
MAX_STEPS = "training.max_steps"
FEW_STEPS, MANY_EPOCHS = 200, 20
"""Steps that a finetuning takes at least, unless they are more than so many passes."""
MANY_REPEATS = 0.05
"""Share of the training rows from which on what they repeat comes first."""
MOST_TIMES = 20.0
"""By which a training is lengthened at the most."""


def rounded(value: float) -> float:
    """Two significant digits.

    Example:
        >>> rounded(0.000166667), rounded(3.0)
        (0.00017, 3.0)
    """
    return float(f"{value:.2g}") if value else 0.0


def against_leakage(split: str, exact: int, near: int) -> tuple[Change, ...]:
    """Leave out of train what is the same; what is nearly the same is for people to tell."""
    file = "data.validation_file" if split == "validation" else "data.test_file"
    why = f"leaves the {exact} {split} rows that stand in train word for word out of train"
    changes: tuple[Change, ...] = (Change(DROP, True, why),) if exact else ()
    if near:
        why = (
            f"drop the {near} {split} rows that stand in train nearly (suspects in eval/report.json) from either, and "
            "split by group (author, document, template) instead of by row"
        )
        changes += (Change(file, None, why),)
    return changes


def against_collapse(found: Measurements) -> tuple[Change, ...]:
    """A third of the rate, a warm-up, and classes that weigh the same."""
    changes = _rate(found, *_to_usual(found, "one answer for everything is what too large steps leave"))
    if found.trains != "head" and not (found.setting.warmup_steps or 0) > 0:
        changes += (Change("training.warmup_steps", 0.1, "the first steps were taken at the full rate"),)
    changes += _long_enough(found)
    if found.setting.class_weights == "none":
        changes += (Change("training.class_weights", "balanced", "the commonest class outweighs the others"),)
    return changes


def against_noise(found: Measurements, num_suspects: int) -> tuple[Change, ...]:
    """Look at the rows; meanwhile do not learn them by heart."""
    changes: tuple[Change, ...] = (
        Change("data.train_file", None, f"look at the {num_suspects} suspect rows in the report, mend or drop them"),
    )
    if (step := best_step(found)) is not None and found.curve and step < found.curve[-1].step:
        changes += shorten(found, step, "what is learnt after it is the noise")
    return changes


def against_slowness(found: Measurements, pace: float, trial: Trial | None = None) -> tuple[Change, ...]:
    """A higher rate where a trial showed it, or where the curve is a straight line; else more steps."""
    if trial is not None and trial.kind == "longer":
        factor, why = _time_left(found, trial)
        return lengthen(found, factor, f"{trial.words} learnt more{why}")
    if trial is not None:
        return tuple(Change(key, value, f"{trial.words} learnt more") for key, value in trial.change.items())
    # on an exponential approach with k time constants the pace is about 1 - k / 4; four of them would be converged
    if pace > 0.85:
        factor = min(100.0, max(3.0, 1 / max(1e-9, 1 - pace)))
        return _rate(found, factor, f"the loss fell in almost a straight line to the end ({pace:.0%} of its mean pace)")
    # a model that has not seen every row three times has hardly begun
    factor = max(3.0, 3.0 / (found.setting.num_epochs_done or 3.0))
    return lengthen(found, factor, f"the loss still fell at {pace:.0%} of its mean pace when training ended")


def _time_left(found: Measurements, trial: Trial) -> tuple[float, str]:
    """How many times the length would end an exponential approach through the start, the end and three times it; why.

    With r = exp(-t / tau) for the length t of the run, what three times the length brought on top of what the run had
    gained is r (1 + r). Four time constants leave 2 %, and a model that has not seen every row three times has hardly
    begun.
    """
    least = max(3.0, 3.0 / (found.setting.num_epochs_done or 3.0))
    before, gains = gained(found), gains_of(found, trial)
    if before is None or before <= 0 or gains is None:
        return least, ""
    further = max(0.0, gains[1].value) / before
    left = (math.sqrt(1 + 4 * further) - 1) / 2
    factor = MOST_TIMES if left >= 1 else 4 / -math.log(max(left, 1e-9))
    factor = min(MOST_TIMES, max(least, factor))
    return factor, f", {further:.0%} of what the run had gained; at that pace {factor:.2g} times the length ends it"


def against_capacity(trial: Trial) -> tuple[Change, ...]:
    """What the trial did."""
    changes = tuple(
        Change(key, value, f"{trial.words} learnt what this run could not") for key, value in trial.change.items()
    )
    return changes or (Change("method.type", "full", f"{trial.words} learnt what this run could not"),)


def against_gap(found: Measurements, *, by_heart: bool) -> tuple[Change, ...]:
    """A base that knows the domain, a stage of language modelling on it first, or more rows.

    Args:
        found: what was measured.
        by_heart: the training rows were learnt and nothing else, so that more passes over them bring nothing.
    """
    changes: tuple[Change, ...] = (
        Change("model.name_or_path", None, "choose a base that was trained on such text, or tune it on plain text of "
               "the domain first (task: causal_lm)"),
    )  # fmt: skip
    if by_heart:
        return (*changes, Change("data.train_file", None, "give it many times the rows: these were learnt by heart"))
    if found.trains != "weights":
        changes += (Change("method.type", "full", "what is trained now is too little for text this far from the base"),)
    return changes


def against_memory(found: Measurements) -> tuple[Change, ...]:
    """Each row once where they repeat, fewer passes over them, and a penalty."""
    if found.repeats >= MANY_REPEATS:
        why = (
            f"{found.repeats:.0%} of the training rows repeat an earlier one, and what is seen often is learnt by heart"
        )
        return (Change(DROP, True, why), *_decay(found))
    step = best_step(found)
    last = found.curve[-1].step if found.curve else None
    if step is not None and last is not None and step < last:
        why = "after the best validation loss only the training rows were learnt"
        changes = _smaller_steps(found, step) or shorten(found, step, why)
    else:
        changes = shorten(found, None, "every further pass engraves the same rows")
    return changes + _decay(found)


def against_overfit(found: Measurements, step: int) -> tuple[Change, ...]:
    """Stop where validation was best; smaller steps where that was the first of all looks, and no better than before.

    A training whose first steps already lead away from the task is not too long.
    """
    changes = _smaller_steps(found, step) or shorten(found, step, f"validation was best at step {step:,}")
    if not found.setting.load_best:
        why = "the weights of the last step were kept instead"
        changes += (Change("training.load_best_model_at_end", True, why),)
    if found.setting.patience is None:
        changes += (Change("training.early_stopping_patience", 3, "nothing stopped the training after that"),)
    return changes + _decay(found)


def _smaller_steps(found: Measurements, step: int) -> tuple[Change, ...]:
    """A tenth of the rate, or less where that is usual, after a training that was at no look better than the base."""
    first = next((point for point in found.curve if point.step > 0), None)
    base = found.of("base", "validation")
    if first is None or base is None or first.step != step or first.validation.loss <= base.loss:
        return ()
    rate, usual = found.setting.learning_rate, found.setting.usual_rate
    factor = min(0.1, usual / rate) if rate and usual is not None else 0.1
    return _rate(found, factor, f"validation was never better than before training ({base.loss:.3g}): steps too large")


def against_forgetting(found: Measurements, rise: float) -> tuple[Change, ...]:
    """Smaller steps, in proportion to what was lost; adapters where every weight was trained."""
    # half of the margin is the aim: a rate that just reaches it would fire every other time
    factor = min(30.0, max(3.0, rise / 0.125))
    if found.trains == "weights" and found.unit != "example":
        return (
            Change("method.type", "lora", "adapters change less of what the base knows, and can be taken off"),
            Change(RATE, rounded((found.setting.learning_rate or 1e-4) * 3 / factor),
                   f"the rise of {rise:.2f} nat a token asks for smaller steps; mix general text into the data if the "
                   "task allows it"),
        )  # fmt: skip
    return _rate(found, 1 / factor, f"the rise of {rise:.2f} nat a token asks for smaller steps")


def against_no_gain() -> tuple[Change, ...]:
    """Take what is simpler, or learn more."""
    return (Change("", None, "use the baseline, which is cheaper and as good, or give more and other training data"),)


def best_step(found: Measurements) -> int | None:
    """Step of the lowest validation loss after the start."""
    points = [point for point in found.curve if point.step > 0]
    return min(points, key=lambda point: point.validation.loss).step if points else None


def shorten(found: Measurements, step: int | None, why: str) -> tuple[Change, ...]:
    """Train until `step`, or half as long."""
    setting = found.setting
    last = setting.num_steps
    if not last:
        return ()
    share = (step if step is not None else last / 2) / last
    if setting.max_steps is not None:
        return (Change(MAX_STEPS, max(1, round(share * last)), f"{why} (of {last:,})"),)
    epochs = setting.num_epochs_done or setting.num_train_epochs
    if epochs is None:
        return ()
    return (Change(EPOCHS, max(rounded(share * epochs), 0.01), f"{why} (of {last:,})"),)


def lengthen(found: Measurements, factor: float, why: str) -> tuple[Change, ...]:
    """Train `factor` times as long."""
    setting = found.setting
    if setting.max_steps is not None:
        return (Change(MAX_STEPS, math.ceil(setting.max_steps * factor), why),)
    epochs = setting.num_train_epochs
    return () if epochs is None else (Change(EPOCHS, rounded(epochs * factor), why),)


def _rate(found: Measurements, factor: float, why: str) -> tuple[Change, ...]:
    rate = found.setting.learning_rate
    return () if rate is None else (Change(RATE, rounded(rate * factor), f"{why}; it was {rate:g}"),)


def _long_enough(found: Measurements) -> tuple[Change, ...]:
    """So many steps as smaller ones need, where there are few: 200, in no more than 20 passes.

    Source: Mosbach et al. 2021, On the Stability of Fine-tuning BERT.
    """
    steps, epochs = found.setting.num_steps, found.setting.num_epochs_done
    if not steps or not epochs or found.trains == "head":
        return ()
    factor = min(FEW_STEPS / steps, MANY_EPOCHS / epochs)
    return lengthen(found, factor, f"{steps:,} smaller steps do not reach far") if factor > 1 else ()


def _to_usual(found: Measurements, why: str) -> tuple[float, str]:
    """A third of the rate, or what is usual for a model of this size where that is less; and why."""
    rate, usual = found.setting.learning_rate, found.setting.usual_rate
    if not rate or usual is None or usual >= rate / 3:
        return 1 / 3, why
    return usual / rate, f"{why}, and {usual:.2g} is about what a model of this size usually takes"


def _decay(found: Measurements) -> tuple[Change, ...]:
    decay = found.setting.weight_decay
    if found.trains == "head" and decay != "auto":
        return (Change("training.weight_decay", "auto", "the strength of the penalty is chosen on validation then"),)
    if isinstance(decay, int | float) and decay < 0.1 and found.trains == "weights":
        return (Change("training.weight_decay", 0.1, f"it was {decay:g}"),)
    return ()
