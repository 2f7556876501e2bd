"""The planted runs of both sets: what is planted, how strongly, with which seeds, corpora and sizes.

The tuning set is there to choose margins, the locked set to judge them. They share no seed, no package of comments, no
alphabet and no size, and nothing that was seen of the locked set may change a margin: then it would have to be
drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from fit.faults import FAULTY, HEALTHY, Arm
from fit.plants import Plant
from fit.prose import LOCKED_PAIRS, TUNING_PAIRS


@dataclass(frozen=True)
class SetPlan:
    """How a set is drawn.

    Attributes:
        first_seed: seeds count from here.
        num_healthy: healthy runs.
        num_faulty: runs of each faulty condition.
        scale: of the numbers of training rows.
        pairs: of packages whose comments are told apart.
        alphabets: of unseen languages.
        validation: rows of validation, in turn.
    """

    first_seed: int
    num_healthy: int
    num_faulty: int
    scale: float
    pairs: tuple[tuple[str, str], ...]
    alphabets: tuple[str, ...]
    validation: tuple[int, ...]


SETS = {
    "tuning": SetPlan(1_000, 15, 3, 1.0, TUNING_PAIRS, ("greek", "cyrillic", "georgian", "armenian"), (200, 260)),
    "locked": SetPlan(90_000, 176, 5, 1.15, LOCKED_PAIRS, ("thai", "hebrew", "katakana"), (220, 300)),
}
"""Name -> plan. More healthy runs are planted than the 149 that a bound of 2 % takes: not every planting holds."""


def make_set(name: str) -> list[Plant]:
    """All plants of a set, the conditions in turn, so that a part of the set has all of them."""
    plan = SETS[name]
    seeds = count(plan.first_seed)
    groups = [
        list(_condition(name, plan, condition, arms, plan.num_faulty, seeds)) for condition, arms in FAULTY.items()
    ]
    healthy = list(_condition(name, plan, "healthy", HEALTHY, plan.num_healthy, seeds))
    ratio = max(1, round(plan.num_healthy / plan.num_faulty))
    plants: list[Plant] = []
    for turn in range(plan.num_faulty):
        plants += [group[turn] for group in groups]
        plants += healthy[turn * ratio : (turn + 1) * ratio]
    return plants + healthy[plan.num_faulty * ratio :]


def _condition(
    name: str, plan: SetPlan, condition: str, arms: list[Arm], num: int, seeds: Iterator[int]
) -> Iterator[Plant]:
    for turn in range(num):
        arm, seed = arms[turn % len(arms)], next(seeds)
        again = turn // len(arms)
        yield Plant(
            name=f"{name}-{condition}-{turn:03d}",
            condition=condition,
            task=arm.task,
            corpus=_corpus(arm.corpus, plan, turn, again),
            method=arm.method,
            training=_scaled(arm.training, again),
            seed=seed,
            num_train=round(arm.num_train * (plan.scale if arm.scales else 1) * (1 + 0.15 * (again % 4))),
            num_validation=arm.num_validation or plan.validation[turn % len(plan.validation)],
            fault=arm.faults[turn // len(arms) % len(arm.faults)] if arm.faults else {},
            cure=arm.cure,
            model=arm.model,
        )


def _scaled(training: Mapping[str, Any], again: int) -> dict[str, Any]:
    """Rates that differ a little from one run of an arm to its next."""
    return {**training, "learning_rate": float(f"{training['learning_rate'] * (1.0, 1.15, 0.9)[again % 3]:.3g}")}


def _corpus(pattern: str, plan: SetPlan, turn: int, again: int) -> str:
    """`{packages}` (two, joined) and `{alphabet}` filled in from the plan, so that an arm meets all of them."""
    first, second = plan.pairs[turn % len(plan.pairs)]
    alphabet = plan.alphabets[(turn + again) % len(plan.alphabets)]
    return pattern.format(packages=f"{first}+{second}", alphabet=alphabet)
