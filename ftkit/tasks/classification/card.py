"""What the card of a finetuned classifier says: its labels, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Splits
from ftkit.data.prompting import Prompting
from ftkit.report.card import CardFacts, Prompt, card_text, library_of
from ftkit.report.example import find_example
from ftkit.tasks.classification.recipe import ClassificationRecipe


def card_facts(recipe: ClassificationRecipe, splits: Splits, facts: Mapping[str, Any]) -> CardFacts:
    """The labels of a classifier."""
    shown = find_example(splits.validation, Prompting("text")).answer if recipe.data.example_in_card else ""
    return CardFacts(
        pipeline_tag="text-classification",
        what=f"A text classifier with {len(splits.label_names)} labels,",
        rows="rows",
        labels=splits.label_names,
        over="rows",
        prompt=shown or "a text to classify",
        shows_row=bool(shown),
        training=[(name, value) for name, value in facts.items() if isinstance(value, str | int)],
    )


def loading_lines(folder: Path, *, at: str, name: str, prompt: Prompt) -> str:  # noqa: ARG001
    """Python that loads the model and classifies a text."""
    return card_text("tasks/classification/loading.jinja", library=library_of(folder), at=at, text=prompt)
