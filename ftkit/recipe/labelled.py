"""What recipes with labels may say, whether a class comes out or a text that names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from ftkit.methods.section import Finding
from ftkit.recipe.data_section import DataSpec
from ftkit.recipe.schema import EvaluationSpec, Recipe
from ftkit.recipe.sources.section import SourceSpec
from ftkit.recipe.task_rules import Facts

_ONE_CLASS = {"f1", "precision", "recall"}


class LabelledSource(SourceSpec):
    """One of several sources of texts and labels."""

    text_pair_column: str | None = None
    label_column: str | None = None


LabelledFiles = str | Annotated[Sequence[str | LabelledSource], Field(min_length=1)] | None
"""A file, or several sources of texts and labels."""


class LabelledData(DataSpec):
    """Where the examples come from, and which columns hold what."""

    follows: ClassVar = {"text_pair_column": "text_column"}
    source_class: ClassVar[type[SourceSpec]] = LabelledSource

    train_file: LabelledFiles = None
    validation_file: LabelledFiles = None
    test_file: LabelledFiles = None

    text_pair_column: str | None = None
    """Column of the second text, for tasks on pairs (entailment, paraphrase)."""

    label_column: str | None = None
    """Column of the label; found when exactly one column looks like it."""

    label_names: list[str | int] | None = None
    """The labels in the order they get in the model. Default: sorted as they occur in the training set."""

    def has_labels(self) -> bool:
        """Whether labels are learnt."""
        return True

    def columns_of_texts(self) -> tuple[str | None, str | None]:
        """Column of the text, and of a second one where there are pairs."""
        return self.text_column, self.text_pair_column


class LabelledEvaluation(EvaluationSpec):
    """What is measured at the end, on validation and test."""

    follows: ClassVar = {"positive_label": "metrics"}

    positive_label: str | int | None = None
    """Class that f1, precision and recall are about in a task of two classes. Default: the second label."""


class LabelledRecipe(Recipe):
    """A recipe of examples that may have labels."""

    data: LabelledData
    evaluation: LabelledEvaluation

    def labels_named(self) -> list[str]:
        """Labels that examples have, as far as the recipe speaks of them, two at least; none where none are learnt."""
        weights, positive = self.training.weighs_classes(), self.evaluation.positive_label
        if not self.data.has_labels():
            return []
        if self.data.label_names:
            return [str(name) for name in self.data.label_names]
        if isinstance(weights, dict) and len(weights) > 1:
            return list(weights)
        return ["other" if positive is not None else "first", "second" if positive is None else str(positive)]


def columns_of_labels(facts: Facts[LabelledRecipe]) -> Iterator[Finding]:
    """Each of the columns is another one."""
    data = facts.recipe.data
    yield from distinct(facts, ("text_column", "text_pair_column", "label_column"), "{column!r} is the {key} already")
    if data.text_pair_column is not None and data.text_column is None:
        yield Finding("data.text_pair_column", "text_column is not named", "name both columns of a pair")


def distinct(facts: Facts[Recipe], names: Sequence[str], message: str) -> Iterator[Finding]:
    """No column of the data is named by two of these keys; the message may name the `column` and the other `key`."""
    used: dict[str, str] = {}
    for name in names:
        column = facts.recipe.value(f"data.{name}")
        if column is not None and column in used:
            yield Finding(f"data.{name}", message.format(column=column, key=used[column]), "name another column")
        elif column is not None:
            used[column] = name


def label_names(facts: Facts[LabelledRecipe]) -> Iterator[Finding]:
    """Two labels or more, each named once, and the positive one of them."""
    names, positive = facts.recipe.data.label_names, facts.recipe.evaluation.positive_label
    if names is None:
        return
    words = [str(name) for name in names]
    if len(set(words)) < len(words):
        plain = len({repr(name) for name in names}) < len(names)
        numbers = plain and any(isinstance(name, int) for name in names)
        quotes = "; YAML reads 01 as the number 1: put labels in quotes" if numbers else ""
        yield Finding("data.label_names", "a label is named twice", f"name each label once{quotes}")
    if len(words) < 2:
        yield Finding("data.label_names", "fewer than two labels", "a classifier needs two or more")
    if positive is not None and str(positive) not in words:
        yield Finding("evaluation.positive_label", f"{positive!r} is not in data.label_names", one_of(words))


def positive_label(facts: Facts[LabelledRecipe]) -> Iterator[Finding]:
    """A metric is about the positive label, where one is named."""
    recipe = facts.recipe
    if not facts.has("evaluation.positive_label") or not recipe.data.has_labels():
        return
    if not any(name in _ONE_CLASS or name.startswith("evaluate:") for name in recipe.evaluation.metrics):
        fix = "add one of f1, precision, recall, or remove it"
        yield Finding("evaluation.positive_label", "no metric of the list is about one class", fix)


def one_of(words: list[str]) -> str:
    """Labels for a message, the first few."""
    shown = ", ".join(words[:8])
    return f"one of {shown}{', ...' if len(words) > 8 else ''}"
