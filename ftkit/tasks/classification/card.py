"""What the card of a finetuned classifier says: its labels, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Splits
from ftkit.report.card import CardFacts, Prompt, library_of
from ftkit.tasks.classification.recipe import ClassificationRecipe

LOADING = {
    "sentence-transformers": """from sentence_transformers import SentenceTransformer
import json, numpy

model = SentenceTransformer("{folder}")           # Transformer, Pooling, Dense: encode gives logits
labels = json.load(open("{folder}/config.json"))["id2label"]
print(labels[str(numpy.argmax(model.encode("{text}")))])""",
    "transformers": """from transformers import pipeline

print(pipeline("text-classification", model="{folder}")("{text}"))""",
    "peft": """import json
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

names = json.load(open("{folder}/label_names.json"))["id2label"]
labels = {{int(index): name for index, name in names.items()}}
model = AutoModelForSequenceClassification.from_pretrained("{folder}", id2label=labels)  # base and adapter, by peft
tokenizer = AutoTokenizer.from_pretrained("{folder}")
print(pipeline("text-classification", model=model, tokenizer=tokenizer)("{text}"))""",
}
"""How each kind of folder is loaded without ftkit, by the library that reads it."""


def card_facts(recipe: ClassificationRecipe, splits: Splits, facts: Mapping[str, Any]) -> CardFacts:  # noqa: ARG001
    """The labels of a classifier."""
    return CardFacts(
        pipeline_tag="text-classification",
        what=f"A text classifier with {len(splits.label_names)} labels,",
        rows="rows",
        labels=splits.label_names,
        over="rows",
        prompt="a text to classify",
        training=[(name, value) for name, value in facts.items() if isinstance(value, str | int)],
    )


def loading_lines(folder: Path, *, at: str, name: str, prompt: Prompt) -> str:  # noqa: ARG001
    """Python that loads the model and classifies a text."""
    return LOADING[library_of(folder)].format(folder=at, text=prompt)
