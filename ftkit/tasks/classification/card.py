"""The README.md of a finetuned model: what it is, what it was made of, how good it is, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftkit.data.dataset import Splits
from ftkit.recipe.schema import Recipe
from ftkit.report.card import fenced, folder_kind, metadata, training_section
from ftkit.runs.run import Run
from ftkit.storage import write_text
from ftkit.tasks.causal_lm.card import language_card
from ftkit.tasks.seq2seq.card import seq2seq_card
from ftkit.version import __version__

LOADING = {
    "pooled": """from sentence_transformers import SentenceTransformer
import json, numpy

model = SentenceTransformer("{folder}")           # Transformer, Pooling, Dense: encode gives logits
labels = json.load(open("{folder}/config.json"))["id2label"]
print(labels[str(numpy.argmax(model.encode("a text to classify")))])""",
    "full": """from transformers import pipeline

print(pipeline("text-classification", model="{folder}")("a text to classify"))""",
    "adapter": """import json
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

names = json.load(open("{folder}/label_names.json"))["id2label"]
labels = {{int(index): name for index, name in names.items()}}
model = AutoModelForSequenceClassification.from_pretrained("{folder}", id2label=labels)  # base and adapter, by peft
tokenizer = AutoTokenizer.from_pretrained("{folder}")
print(pipeline("text-classification", model=model, tokenizer=tokenizer)("a text to classify"))""",
}
"""How each kind of folder is loaded without ftkit."""


def write_model_card(
    run: Run, recipe: Recipe, *, splits: Splits, metrics: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Write model/README.md.

    Args:
        run: a run whose model is in its place.
        recipe: what was asked.
        splits: the data.
        metrics: as in metrics.json.
        facts: of the training, as in the manifest.
    """
    make = {"classification": classification_card, "causal_lm": language_card, "seq2seq": seq2seq_card}[recipe.task]
    write_text(run.model_dir / "README.md", make(run, recipe, splits=splits, metrics=metrics, facts=facts))


def classification_card(
    run: Run, recipe: Recipe, *, splits: Splits, metrics: Mapping[str, Any], facts: Mapping[str, Any]
) -> str:
    """The text of a classifier's card, Markdown with the metadata that the hub reads."""
    rows = ", ".join(f"{len(split):,} {split.name}" for split in splits.all())
    parts = [
        metadata(recipe, run, pipeline_tag="text-classification"),
        f"# {run.path.name}",
        f"A text classifier with {len(splits.label_names)} labels, finetuned by ftkit {__version__} from "
        f"`{recipe.model.name_or_path}` (method `{recipe.method.type}`).",
        f"**Data**: {splits.train.source}; {rows} rows.\n**Labels**: {', '.join(splits.label_names)}.",
        "## Scores\n\n" + metrics_table(metrics),
        "Intervals are 95 % bootstrap intervals over rows. The validation set also chose the best "
        "checkpoint, so its scores lean to the good side; the test set, where there is one, did not."
        if recipe.training.load_best_model_at_end
        else "Intervals are 95 % bootstrap intervals over rows.",
        "## How to load it\n\n" + fenced(LOADING[folder_kind(run)].format(folder=run.model_dir.name), "python"),
        training_section(run, ((name, value) for name, value in facts.items() if isinstance(value, str | int))),
    ]
    return "\n\n".join(parts) + "\n"


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Scores of every split as a Markdown table; matrices and the like are left to metrics.json."""
    lines = ["| split | metric | value | 95 % interval | rows |", "| --- | --- | --- | --- | --- |"]
    for split, entries in metrics.items():
        for name, entry in entries.items():
            if isinstance(entry.get("value"), int | float):
                low, high = entry.get("low"), entry.get("high")
                interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
                lines.append(f"| {split} | {name} | {entry['value']:.4f} | {interval} | {entry['n']} |")
    return "\n".join(lines)
