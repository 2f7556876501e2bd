"""As many validation rows at each evaluation as an interval of the width that is asked for takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ftkit.inputs.examples import Examples, Rows
from ftkit.interruption import STOP
from ftkit.metrics.margin import WIDEST_SHARE, margin_of_error, rows_for_margin, spread_of_ratio
from ftkit.metrics.scores import Scores
from ftkit.models.placement import choose_device
from ftkit.recipe.training_section import TrainingSpec
from ftkit.training.probes import WHOLE_VALIDATION, validation_probe_rows
from ftkit.training.sampling import undisturbed
from ftkit.training.way import Data

WIDER = 1.25
"""Times the width that was asked for at which it is said that an interval has become wider."""
BACKWARD = 3
"""Times the work of scoring that a step of training takes on the same tokens: forward, and twice that backward."""
_SALT = 13
"""Keeps the draw of rows apart from others with the same seed."""

W = TypeVar("W", bound=Any)
"""A way to train: a dataclass with its recipe and its data."""


@dataclass
class Watched:
    """The validation rows that are scored while a model trains, where they are not all.

    Attributes:
        examples: numbers of the examples among all (n,), sorted.
        scored: numbers of what is scored among all scores, sorted.
        rows: numbers of the rows of the split (m,), sorted.
        margin: half the width that the interval of the loss may have; None where shares are watched.
        say: hears when it is wider.
    """

    examples: Rows
    scored: Rows
    rows: Rows
    margin: float | None
    say: Callable[[str], None]
    told: bool = False

    def look(self, scores: Scores) -> None:
        """Say once that the losses have come to lie further apart than they did."""
        if self.margin is None or self.told:
            return
        spread = spread_of_ratio(np.asarray(scores.nll, dtype=np.float64), np.asarray(scores.num_targets, np.float64))
        if (now := margin_of_error(spread, len(scores.nll))) > WIDER * self.margin:
            self.told = True
            self.say(
                f"warning: the losses lie further apart than before training: +-{now:.2g} now, and "
                f"training.eval_margin_of_error asks for {self.margin:g}; a smaller one would score more rows"
            )


def choose_watched(
    training: TrainingSpec, data: Data[Any], score: Callable[[Examples], Scores], *, say: Callable[[str], None]
) -> Watched | None:
    """The validation rows that are scored at each evaluation, as training.eval_margin_of_error asks; None for all.

    Their number follows from the spread of the losses that a model gives some of them before it is trained, or, where a
    share chooses the best step, from the widest that a share can have. They hold the rows of which losses are kept, and
    depend on the seed and on these losses alone, so that a run that is gone on with scores the same.

    Args:
        training: how it is trained.
        data: of the run.
        score: examples -> what the model gives each before training.
        say: hears how many there are.
    """
    if (examples := data.examples.get("validation")) is None:
        return None
    margin, chosen = training.eval_margin_of_error, training.metric_for_best_model
    if margin is None or training.eval_strategy == "no":
        _tell_of_costs(training, data, say=say)
        return None
    held = np.unique(examples.rows)
    scored = examples.scored_rows
    kept = np.unique(scored[validation_probe_rows(len(scored), seed=training.seed)])
    spread, of = WIDEST_SHARE, str(chosen)
    if chosen == "loss":
        some = examples.take(np.flatnonzero(np.isin(examples.rows, kept)))
        found, number = score(some), np.searchsorted(kept, some.scored_rows)
        nll, targets = (
            np.bincount(number, weights=values, minlength=len(kept)).astype(np.float64)
            for values in (found.nll, found.num_targets)
        )
        spread, of = spread_of_ratio(nll, targets), "the loss, as it is spread before training"
    wanted = max(len(kept), rows_for_margin(spread, margin))
    if wanted >= len(held):
        reached = margin_of_error(spread, len(held))
        say(
            f"all {len(held):,} validation rows are scored at each evaluation: +-{reached:.2g} of {of} "
            f"(training.eval_margin_of_error: {margin:g})"
        )
        return None
    others = np.random.default_rng([training.seed, _SALT]).permutation(np.setdiff1d(held, kept))
    rows = np.sort(np.concatenate([kept, others[: wanted - len(kept)]]))
    say(
        f"{len(rows):,} of {len(held):,} validation rows are scored at each evaluation: "
        f"+-{margin_of_error(spread, len(rows)):.2g} of {of} (training.eval_margin_of_error: {margin:g}); all of them "
        "at the end"
    )
    numbers, of_scores = (np.flatnonzero(np.isin(of_rows, rows)) for of_rows in (examples.rows, scored))
    return Watched(numbers, of_scores, rows, margin if chosen == "loss" else None, say)


def _tell_of_costs(training: TrainingSpec, data: Data[Any], *, say: Callable[[str], None]) -> None:
    """Say that scoring the validation set takes longer than training, where it does by the tokens of both."""
    if training.eval_strategy != "epoch" or len(data.examples["validation"]) <= WHOLE_VALIDATION:
        return
    learnt, scored = (int(data.examples[name].lengths.sum()) for name in ("train", "validation"))
    if scored > BACKWARD * learnt:
        say(
            f"scoring {len(data.splits.validation):,} validation rows after each epoch takes longer than the epoch: "
            "training.eval_margin_of_error scores fewer"
        )


def watch(way: W, model: Any, *, say: Callable[[str], None]) -> tuple[W, Watched | None]:
    """A way to train that scores as many validation rows as the recipe asks for, and which these are; None for all.

    Args:
        way: of a task; a dataclass with its recipe and data.
        model: as it was prepared; it is put where models are trained.
        say: hears how many rows there are.
    """
    training = way.recipe.training
    if training.eval_margin_of_error is not None:
        model.to(choose_device(use_cpu=training.use_cpu))

    def score(examples: Examples) -> Scores:
        with undisturbed(), STOP.at_once():
            found: Scores = way.probe(model, examples, "some validation rows")
            return found

    watched = choose_watched(training, way.data, score, say=say)
    return (way, None) if watched is None else (replace(way, data=way.data.watching(watched.examples)), watched)
