"""The schedules of learning rates that transformers has, and what each may be told (training.lr_scheduler_kwargs)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from ftkit.methods.section import Finding, Section
from ftkit.recipe.nearest import nearest

KEY = "training.lr_scheduler_kwargs"
Slope = Literal["linear", "cosine", "1-sqrt"]
Share = Annotated[float, Field(ge=0, le=1)]


class ScheduleSpec(Section):
    """What a schedule may be told: as the function of transformers takes it, but for steps, which ftkit counts.

    Attributes:
        warms_up: whether it begins with `training.warmup_steps`.
        follows_scores: whether it changes the rate by the scores of evaluations, not by the number of the step.
        one_of: arguments of which exactly one is needed.
    """

    warms_up: ClassVar[bool] = True
    follows_scores: ClassVar[bool] = False
    one_of: ClassVar[tuple[str, ...]] = ()


class Constant(ScheduleSpec):
    """The same rate throughout."""

    warms_up: ClassVar[bool] = False


class Cosine(ScheduleSpec):
    """Half a cosine, down to zero."""

    num_cycles: float = Field(default=0.5, gt=0)
    """Waves; 0.5 is from the peak down to zero."""


class CosineWithRestarts(ScheduleSpec):
    """A cosine that jumps back to the peak."""

    num_cycles: int = Field(default=1, ge=1)
    """Descents from the peak."""


class Polynomial(ScheduleSpec):
    """A power of the share of steps left."""

    lr_end: float = Field(default=1e-7, ge=0)
    """Rate of the last step."""

    power: float = Field(default=1.0, gt=0)
    """1 is a straight line."""


class InverseSqrt(ScheduleSpec):
    """One over the square root of the step."""

    timescale: int | None = Field(default=None, ge=1)
    """Steps by which time is measured. Default: those of the warm-up."""


class CosineWithMinLr(Cosine):
    """Half a cosine, down to a lowest rate."""

    one_of: ClassVar[tuple[str, ...]] = ("min_lr", "min_lr_rate")

    min_lr: float | None = Field(default=None, ge=0)
    """The lowest rate."""

    min_lr_rate: Share | None = None
    """The same as a share of the peak."""


class CosineWarmupWithMinLr(CosineWithMinLr):
    """The same, with a warm-up that begins above zero."""

    warmup_lr_rate: Share | None = None
    """Share of the peak at which the warm-up begins. Default: 1 / warmup_steps."""


class WarmupStableDecay(ScheduleSpec):
    """The peak for most of the run, then down (Hu et al. 2024, MiniCPM)."""

    num_decay_steps: float = Field(gt=0)
    """Steps of the descent at the end; below 1, the share of all steps."""

    num_stable_steps: int | None = Field(default=None, ge=0)
    """Steps at the peak. Default: those that warm-up and descent leave."""

    warmup_type: Slope = "linear"
    decay_type: Slope = "cosine"

    min_lr_ratio: Share = 0.0
    """Share of the peak at which the warm-up begins and the descent ends."""

    num_cycles: float = Field(default=0.5, gt=0)
    """Waves of a descent by cosine."""


class _FollowsScores(ScheduleSpec):
    """The rate goes by what evaluations find; whether less or more is better, training.metric_for_best_model says."""

    warms_up: ClassVar[bool] = False
    follows_scores: ClassVar[bool] = True

    factor: float = Field(default=0.1, gt=0, lt=1)
    """By which the rate is multiplied after evaluations without a better score."""

    patience: int = Field(default=10, ge=0)
    """Such evaluations that are borne."""

    threshold: float = Field(default=1e-4, ge=0)
    """What a better score is better by."""

    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = Field(default=0, ge=0)
    eps: float = Field(default=1e-8, ge=0)


class ReduceLrOnPlateau(_FollowsScores):
    """torch.optim.lr_scheduler.ReduceLROnPlateau."""

    min_lr: float = Field(default=0.0, ge=0)
    """The lowest rate."""


class Greedy(_FollowsScores):
    """The rate rises as well while scores get better (GreedyLR, Subramaniam et al. 2025)."""

    min_lr: float = Field(ge=0)
    """The lowest rate: transformers' own default, 1e-3, is above the usual ones."""

    max_lr: float = Field(gt=0)
    """The highest rate."""

    factor: float = Field(default=0.95, gt=0, lt=1)
    """By which the rate is multiplied or divided."""

    threshold: float = Field(default=1e-6, ge=0)
    threshold_mode: Literal["rel", "abs"] = "abs"
    warmup: int = Field(default=0, ge=0)
    smooth: bool = False
    window_size: int = Field(default=50, ge=1)
    reset_start: int = Field(default=500, ge=1)


SCHEDULES: Mapping[str, type[ScheduleSpec]] = {
    "linear": ScheduleSpec,
    "cosine": Cosine,
    "constant": Constant,
    "constant_with_warmup": ScheduleSpec,
    "cosine_with_restarts": CosineWithRestarts,
    "polynomial": Polynomial,
    "inverse_sqrt": InverseSqrt,
    "cosine_with_min_lr": CosineWithMinLr,
    "cosine_warmup_with_min_lr": CosineWarmupWithMinLr,
    "warmup_stable_decay": WarmupStableDecay,
    "reduce_lr_on_plateau": ReduceLrOnPlateau,
    "greedy": Greedy,
}
"""training.lr_scheduler_type -> what it may be told."""


def wrong_arguments(name: str, given: Mapping[str, Any], *, learning_rate: float) -> Iterator[Finding]:
    """What is wrong with the arguments of a schedule.

    Args:
        name: of the schedule.
        given: its arguments.
        learning_rate: the peak.
    """
    schedule = SCHEDULES[name]
    known = list(schedule.model_fields)
    try:
        schedule.model_validate(dict(given))
    except ValidationError as error:
        yield from (_finding(name, known, one) for one in error.errors())
        return
    decay = given.get("num_decay_steps", 0.0)
    if decay >= 1 and int(decay) != decay:
        yield Finding(KEY, f"num_decay_steps {decay:g} is no whole number of steps", "a share of the steps is below 1")
    named = [one for one in schedule.one_of if one in given]
    if schedule.one_of and len(named) != 1:
        either = " or ".join(schedule.one_of)
        yield Finding(
            KEY, f"{name} needs {either}, and one of them alone", f"for example {{{schedule.one_of[-1]}: 0.1}}"
        )
    for key in ("min_lr", "lr_end"):
        if key in given and (low := given[key] or 0) >= learning_rate:
            yield Finding(KEY, f"{key} {low:g} is not below the learning_rate, {learning_rate:g}", "write a lower one")
    if (high := given.get("max_lr")) is not None and high < learning_rate:
        yield Finding(KEY, f"max_lr {high:g} is below the learning_rate, {learning_rate:g}", "write a higher one")


def _finding(name: str, known: list[str], error: Mapping[str, Any]) -> Finding:
    argument = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        near = nearest(argument, known)
        fix = (
            f"did you mean {near}?" if near else f"it takes {', '.join(known)}" if known else "remove it: it takes none"
        )
        return Finding(KEY, f"{argument} is no argument of {name}", fix)
    if error["type"] == "missing":
        return Finding(
            "training.lr_scheduler_type", f"{name} needs {argument}", f"add lr_scheduler_kwargs: {{{argument}: ...}}"
        )
    return Finding(KEY, f"{argument}: {error['msg'].replace('Input should be', 'must be')}", "")


def arguments_in_steps(name: str, given: Mapping[str, Any], *, num_steps: int, warmup_steps: int) -> dict[str, Any]:
    """The arguments of a schedule as transformers takes them: a share of the steps as a number of steps.

    Raises:
        ValueError: warm-up and descent are longer than the run.

    Example:
        >>> arguments_in_steps("warmup_stable_decay", {"num_decay_steps": 0.2}, num_steps=100, warmup_steps=10)
        {'num_decay_steps': 20}
    """
    found = dict(given)
    if (decay := found.get("num_decay_steps")) is not None:
        found["num_decay_steps"] = steps = max(1, round(decay * num_steps)) if decay < 1 else int(decay)
        if (taken := warmup_steps + steps + (found.get("num_stable_steps") or 0)) > num_steps:
            raise ValueError(f"training.lr_scheduler_type {name} takes {taken:,} steps, and the run has {num_steps:,}")
    return found
