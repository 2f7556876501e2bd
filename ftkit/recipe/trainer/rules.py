"""How long a training goes, at which rates, and what else Trainer is told: rules of every task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from ftkit.methods.section import Finding
from ftkit.recipe.keys import keys_of, todays
from ftkit.recipe.nearest import nearest
from ftkit.recipe.schema import Recipe
from ftkit.recipe.task_rules import Facts
from ftkit.recipe.trainer.extra_fields import FREE, REFUSED
from ftkit.recipe.trainer.schedules import SCHEDULES, arguments_in_steps, wrong_arguments


def _length_of_training(facts: Facts[Recipe]) -> Iterator[Finding]:
    training = facts.recipe.training
    if facts.changed("training.num_train_epochs") and training.max_steps is not None:
        fix = "keep one of the two: max_steps would decide alone"
        yield Finding("training.num_train_epochs", "max_steps is given as well", fix)
    if training.warmup_steps >= 1 and not training.warmup_steps.is_integer():
        fix = "a number of steps is whole; a share of the steps is below 1"
        yield Finding("training.warmup_steps", f"{training.warmup_steps:g} is neither", fix)


def _schedule(facts: Facts[Recipe]) -> Iterator[Finding]:
    """What the schedule of the learning rate is told, and what it needs to be told by."""
    training = facts.recipe.training
    name, schedule = training.lr_scheduler_type, SCHEDULES[training.lr_scheduler_type]
    wrong = [
        finding._replace(decided_by=("training.lr_scheduler_type",))
        for finding in wrong_arguments(name, training.lr_scheduler_kwargs, learning_rate=training.learning_rate)
    ]
    yield from wrong
    if training.max_steps is not None and not wrong:
        warmup = training.warmup_steps * (1 if training.warmup_steps >= 1 else training.max_steps)
        try:
            arguments_in_steps(
                name, training.lr_scheduler_kwargs, num_steps=training.max_steps, warmup_steps=math.ceil(warmup)
            )
        except ValueError as error:
            yield Finding("training.lr_scheduler_kwargs", str(error), "write a share of the steps, below 1")
    if not schedule.warms_up and facts.changed("training.warmup_steps") and training.warmup_steps:
        instead = "remove warmup_steps"
        fix = f"write lr_scheduler_type: constant_with_warmup, or {instead}" if name == "constant" else instead
        yield Finding("training.warmup_steps", f"the {name} schedule has no warm-up", fix)
    if schedule.follows_scores and facts.recipe.method.trains == "head":
        what = f"the strengths of a frozen head are trained side by side, and {name} would give each a rate of its own"
        yield Finding("training.lr_scheduler_type", what, "name a schedule of steps, such as cosine")
    elif schedule.follows_scores and training.refit:
        what = f"{name} follows the validation score, and training.refit trains once more without one"
        yield Finding("training.lr_scheduler_type", what, "name a schedule of steps, such as cosine")
    elif schedule.follows_scores and training.eval_strategy == "no":
        what = f"{name} follows the validation score, and eval_strategy is no"
        yield Finding("training.lr_scheduler_type", what, "write eval_strategy: epoch or steps")


def _extra(facts: Facts[Recipe]) -> Iterator[Finding]:
    for name in facts.recipe.training.extra:
        today = todays(name, facts.tasks)
        if name in facts.fields["training"]:
            fix = f"write it as training.{name}, not in extra" if name != "extra" else "write its keys one level up"
            yield Finding("training.extra", f"{name} is a key of the recipe", fix)
        elif name in keys_of("training", facts.recipe.method.type, facts.tasks):
            yield Finding("training.extra", f"{name} has no meaning for task {facts.recipe.task}", "remove it")
        elif today is not None and not today.key:
            yield Finding("training.extra", f"{name} is nothing that a recipe says", today.note)
        elif today is not None and today.key != "training.extra":
            yield Finding("training.extra", f"{name} is an older or foreign spelling", f"write {today.key}")
        elif name in REFUSED:
            yield Finding("training.extra", f"{name}: {REFUSED[name]}", "remove it")
        elif today is None and name not in FREE:
            near = nearest(name, FREE)
            fix = f"did you mean {near}?" if near else "remove it"
            yield Finding("training.extra", f"{name} is no field of TrainingArguments", fix)


SHARES = ("accuracy", "exact_match", "token_f1")
"""Metrics that are a mean of numbers between 0 and 1, one of each row."""


def _watched_rows(facts: Facts[Recipe]) -> Iterator[Finding]:
    """A part of the validation set, chosen by an interval that can be foretold."""
    training, key = facts.recipe.training, "training.eval_margin_of_error"
    if training.eval_margin_of_error is None:
        return
    best = training.metric_for_best_model
    if facts.recipe.method.trains == "head":
        yield Finding(key, "a frozen head scores all rows in the time of some steps", "remove it")
    elif training.eval_strategy == "no":
        yield Finding(key, "nothing is scored while it trains: eval_strategy is no", "keep one of the two")
    elif best != "loss" and best not in SHARES:
        what = f"how wide an interval of {best} will be is not known before it is measured"
        yield Finding(key, what, f"choose by loss or {', '.join(SHARES)}, or draw rows: data.max_eval_samples")
    elif training.weighs_classes() != "none":
        what = "a loss that weighs classes leans on the few rows of rare ones, whose number a draw leaves to chance"
        yield Finding(key, what, "remove it, or class_weights")


TRAINER_RULES: tuple[Callable[[Facts[Recipe]], Iterator[Finding]], ...] = (
    _length_of_training,
    _schedule,
    _watched_rows,
    _extra,
)
