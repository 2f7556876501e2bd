"""Rules about what is measured: which metrics, and which choice of the best model, fit the task and its targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from ftkit.recipe.facts import Facts, Finding
from ftkit.recipe.schema import (
    CLASSIFICATION_METRICS,
    GENERATED_LABEL_METRICS,
    LANGUAGE_METRICS,
    TEXT_METRICS,
    Recipe,
    TrainingSpec,
)

_BEST = get_args(TrainingSpec.model_fields["metric_for_best_model"].annotation)
_ONE_CLASS = {"f1", "precision", "recall"}


def metrics_of(recipe: Recipe) -> tuple[str, ...]:
    """The metrics that fit a recipe's task and targets, besides those of the library evaluate."""
    if recipe.task == "classification":
        return CLASSIFICATION_METRICS
    if recipe.task == "causal_lm":
        return LANGUAGE_METRICS
    if recipe.data.labels_as_text:
        return (*CLASSIFICATION_METRICS, *GENERATED_LABEL_METRICS, *LANGUAGE_METRICS)
    return (*LANGUAGE_METRICS, *TEXT_METRICS)


def _metrics(facts: Facts) -> Iterator[Finding]:
    metrics = facts.recipe.evaluation.metrics
    for name in dict.fromkeys(metrics):
        if metrics.count(name) > 1:
            yield Finding("evaluation.metrics", f"{name} is named twice", "name each metric once")
        by_library = name.startswith("evaluate:") and _takes_the_library(facts.recipe)
        if name not in metrics_of(facts.recipe) and not by_library:
            yield Finding("evaluation.metrics", *_misfit(facts.recipe, name))


def _takes_the_library(recipe: Recipe) -> bool:
    return recipe.task == "classification" or (recipe.task == "seq2seq" and not recipe.data.labels_as_text)


def _misfit(recipe: Recipe, name: str) -> tuple[str, str]:
    """(what is wrong, what to do) about a metric of something else."""
    fix = f"it has {', '.join(metrics_of(recipe))}"
    if recipe.task == "seq2seq" and recipe.data.labels_as_text:
        return f"{name} does not measure labels", fix
    if recipe.task == "seq2seq" and name in (*CLASSIFICATION_METRICS, *GENERATED_LABEL_METRICS):
        return (
            f"{name} measures labels, and these targets are texts",
            f"for labels add data.labels_as_text: true; {fix}",
        )
    return f"{name} does not measure task {recipe.task}", fix


def _best(facts: Facts) -> Iterator[Finding]:
    recipe, name = facts.recipe, facts.recipe.training.metric_for_best_model
    fitting = ("loss", *(other for other in _BEST if other in metrics_of(recipe) and other != "loss"))
    if name in fitting:
        return
    what = {"classification": "a classifier", "causal_lm": "a language model", "seq2seq": "what writes texts"}
    labels = recipe.task == "seq2seq" and recipe.data.labels_as_text
    fix = f"one of {', '.join(fitting)}"
    if len(fitting) == 1:
        fix = "remove it: the best model has the lowest validation loss"
    chosen = "what writes labels" if labels else what[recipe.task]
    yield Finding("training.metric_for_best_model", f"{chosen} is not chosen by {name}", fix)


def _positive_label(facts: Facts) -> Iterator[Finding]:
    recipe = facts.recipe
    has_labels = recipe.task == "classification" or recipe.data.labels_as_text
    if not facts.has("evaluation.positive_label") or not has_labels:
        return
    if not any(name in _ONE_CLASS or name.startswith("evaluate:") for name in recipe.evaluation.metrics):
        fix = "add one of f1, precision, recall, or remove it"
        yield Finding("evaluation.positive_label", "no metric of the list is about one class", fix)


METRIC_RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (_metrics, _best, _positive_label)
