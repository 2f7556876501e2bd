"""What the card of a finetuned classifier says: its labels, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Splits
from ftkit.data.prompting import Prompting
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.saved_folder import read_long_texts
from ftkit.recipe.data_section import CUT, HEAD_SHARE
from ftkit.report.card import CardFacts, Prompt, card_text, library_of
from ftkit.report.example import find_example
from ftkit.tasks.classification.recipe import ClassificationRecipe

TEXTS = ({"text": "a text to classify"}, {"text": "another one"})
PAIRS = (
    {"text": "a text to classify", "text_pair": "with its second text"},
    {"text": "another one", "text_pair": "and another second text"},
)
"""What the lines of a card ask."""

OUT_OF_FOLD = (
    "Validation scores are out of fold: each training row is scored by a model that learnt from other rows, while the"
    " model in this folder learnt from all of them."
)


def card_facts(recipe: ClassificationRecipe, splits: Splits, facts: Mapping[str, Any]) -> CardFacts:
    """The labels of a classifier."""
    first, *others = TEXTS if splits.train.text_pairs is None else PAIRS
    shown = find_example(splits.validation, Prompting("text")).answer if recipe.data.example_in_card else ""
    return CardFacts(
        # what the library gives that reads a pooled head
        pipeline_tag="text-classification" if str(facts.get("pooling", "cls")) == "cls" else "feature-extraction",
        what=f"A text classifier with {len(splits.label_names)} labels,",
        trained=recipe.trained_in_words() if recipe.model.freeze else "",
        rows="rows",
        labels=splits.label_names,
        over="rows",
        reads=_long_texts(recipe, facts),
        scored="" if splits.folds is None else OUT_OF_FOLD,
        prompt=({**first, "text": shown}, *others) if shown else (first, *others),
        shows_row=bool(shown),
        training=[(name, value) for name, value in facts.items() if isinstance(value, str | int)],
    )


def _long_texts(recipe: ClassificationRecipe, facts: Mapping[str, Any]) -> str:
    """How texts are read that are longer than the model reads at once; nothing where they are cut."""
    max_length = int(facts.get("max_length", 0))
    long_texts = recipe.data.reads_long_texts(max_length)
    longer = f"Texts of more than {max_length:,} tokens"
    if long_texts.kind == "windows":
        return (
            f"{longer} are read in windows of that length, of which neighbours share {long_texts.stride:,} tokens, and "
            "get the mean of their logits. A plain `pipeline` cuts them, and answers otherwise: the lines below do not."
        )
    if long_texts.kind == "head_and_tail":
        return (
            f"{longer} are read by their beginning and their end, without the middle. A plain `pipeline` reads their "
            "beginning, and answers otherwise: the lines below do not."
        )
    return ""


def loading_lines(folder: Path, *, at: str, name: str, prompt: Prompt) -> str:  # noqa: ARG001
    """Python that loads the model and classifies texts, or pairs of them."""
    library = library_of(folder)
    asked = [{"text": prompt}] if isinstance(prompt, str) else prompt
    texts = [list(one.values()) if library == "sentence-transformers" else one for one in asked]
    long_texts = read_long_texts(folder)
    name_of_lines = "loading" if long_texts == CUT else "loading_long"
    return card_text(
        f"tasks/classification/{name_of_lines}.jinja",
        library=library,
        kind=long_texts.kind,
        stride=long_texts.stride,
        head=HEAD_SHARE[0],
        of=HEAD_SHARE[1],
        at=at,
        texts=texts if any(len(one) > 1 for one in asked) else [one["text"] for one in asked],
        other_head=library == "peft" and _other_head(folder),
    )


def _other_head(folder: Path) -> bool:
    """Whether the base of an adapter has a head for another number of labels, in whose place the adapter's stands."""
    from ftkit.methods.adapter_folder import adapter_settings
    from ftkit.models.saved_lm import find_base

    base = find_base(folder, adapter_settings(folder))
    return bool(base.head_labels) and len(base.head_labels) != len(Checkpoint(str(folder), folder).labels)
