"""The quick verdict at the end of a training: what its learning curves alone say."""

from __future__ import annotations

from ftkit.diagnosis.diagnose import diagnose
from ftkit.diagnosis.measurements import Measurements, Model, Set, Setting, Unit
from ftkit.diagnosis.verdict import TITLES
from ftkit.metrics.scores import Scores
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run
from ftkit.training.probes import read_probes

SEEN = ("invalid_run", "not_converged", "memorised", "overfit", "no_gain", "too_little_data")
"""Checks that learning curves are enough for."""
NOTHING_HELD_OUT = "nothing is held out (data.validation_size: 0)"
"""Why figures of the training rows are all that there are."""
UNTOLD = {"not_converged": "whether it ended too early", "overfit": "whether it overfits"}
"""Those without which nothing is said to be well, in words."""


def curve_verdict(run: Run, recipe: Recipe, *, unit: Unit, in_pieces: bool) -> str:
    """One sentence about a finished run, from the losses taken while it trained; nothing is scored for it."""
    points = read_probes(run)
    trained = [point for point in points if point.step > 0]
    if not trained:
        return "no evaluation was made on the way, so its learning curve says nothing; `ftkit eval` looks closer"
    if not len(trained[-1].validation):
        fell = f"the train probe went from a loss of {points[0].train.loss:.3g} to {trained[-1].train.loss:.3g}"
        return f"Cannot tell whether it is underfit or overfit: {NOTHING_HELD_OUT}; {fell}"
    training = recipe.training
    best = min(trained, key=lambda point: point.validation.loss) if training.load_best_model_at_end else trained[-1]
    losses: dict[tuple[Model, Set], Scores] = {
        ("final", "train"): trained[-1].train,
        ("final", "validation"): trained[-1].validation,
        ("best", "train"): best.train,
        ("best", "validation"): best.validation,
    }
    if points[0].step == 0 and unit == "token":
        losses |= {("base", "train"): points[0].train, ("base", "validation"): points[0].validation}
    setting = Setting.of(training, num_steps=trained[-1].step, num_epochs_done=trained[-1].epoch)
    measured = Measurements(
        unit,
        recipe.method.trains,
        losses,
        setting=setting,
        curve=points,
        validation_texts=num_texts(
            run.manifest()["data"]["validation"]["rows"], len(best.validation), in_pieces=in_pieces
        ),
        seed=training.seed,
    )
    verdict = diagnose(measured)
    for check in verdict.checks:
        if check.state == "fired" and check.name in SEEN:
            return f"{TITLES[check.name]}: {check.summary}"
    for check in verdict.checks:
        if check.state == "cannot_tell" and check.name in UNTOLD:
            return f"Cannot tell {UNTOLD[check.name]}: {check.summary}"
    return "the learning curves show neither overfitting nor a training that ended too early"


def num_texts(num_rows: int, num_examples: int, *, in_pieces: bool) -> int | None:
    """How many texts the examples of a set are pieces of; None where each is a row of its own."""
    return num_rows if in_pieces and (num_rows == 1 or num_rows < num_examples) else None
