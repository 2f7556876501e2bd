"""A commented recipe for text to text from a starting point, filled in for a data file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftkit.recipe.defaults import LABEL_TEXT_METRICS
from ftkit.recipe.new import (
    SMALL,
    DataFacts,
    NewRecipe,
    compose_recipe,
    fill,
    relative,
    sibling_assumptions,
    sibling_values,
)

STARTING_POINT = {"pair": "seq2seq-full", "label": "text-to-text-classification"}
"""What the data holds -> the starting point where none is named."""

_PAIR_KEYS = ("source_column", "target_column", "references_column", "template")
_LABEL_KEYS = ("labels_as_text", "text_column", "text_pair_column", "label_column", "label_names")
_TEXT_METRICS = ["perplexity", "exact_match", "chrf", "rougeL"]


@dataclass(frozen=True)
class PairFacts:
    """What was seen in a data file.

    Attributes:
        source: column of what is read.
        target: column of what is written.
        references: column of lists of texts that are all right, or None.
        num_rows: rows looked at.
        complete: whether these are all rows.
        notes: how the columns were found.
        siblings: `validation` and `test` -> file that lies beside the training file.
        num_bad_rows: rows that cannot be read.
    """

    source: str
    target: str
    num_rows: int
    complete: bool
    references: str | None = None
    notes: Sequence[str] = ()
    siblings: Mapping[str, Path] = field(default_factory=dict)
    num_bad_rows: int = 0


def compose_pair_recipe(
    text: str, *, recipe_path: Path, data_file: Path, facts: PairFacts, model: str | None
) -> NewRecipe:
    """Fill a starting point of task seq2seq in for a file of sources and targets.

    Args:
        text: a starting point that has a train_file.
        recipe_path: where the recipe will lie; files are named relative to its folder.
        data_file: the training file.
        facts: what was seen in it.
        model: hub id, folder or `builtin:NAME`; None keeps the starting point's.
    """
    folder = recipe_path.parent
    values: dict[str, object] = {"data.train_file": relative(data_file, folder)}
    # every form but one is commented out: a recipe that names two is refused
    values |= dict.fromkeys((f"data.{key}" for key in (*_PAIR_KEYS, *_LABEL_KEYS)), None)
    values |= {"data.source_column": facts.source, "data.target_column": facts.target}
    values["data.references_column"] = facts.references
    if _learns_labels(text):
        values["evaluation.metrics"] = _TEXT_METRICS
    if model is not None:
        values["model.name_or_path"] = model
    size = 0.1 if facts.num_rows >= SMALL else 0.2
    values |= sibling_values(facts.siblings, folder, size=size)
    return NewRecipe(fill(text, values), _assumptions(facts, size), _warnings(facts))


def compose_label_recipe(
    text: str, *, recipe_path: Path, data_file: Path, facts: DataFacts, model: str | None
) -> NewRecipe:
    """Fill a starting point of task seq2seq in for a data set of classification, whose labels are learnt as texts.

    Args: as for `compose_pair_recipe`.
    """
    values: dict[str, object] = dict.fromkeys((f"data.{key}" for key in _PAIR_KEYS), None)
    values["data.labels_as_text"] = True
    values["data.text_pair_column"] = None
    if not _learns_labels(text):
        values["evaluation.metrics"] = LABEL_TEXT_METRICS
    new = compose_recipe(fill(text, values), recipe_path=recipe_path, data_file=data_file, facts=facts, model=model)
    return NewRecipe(new.text, (*new.assumed, "what is learnt: the name of the label, as a text"), new.warnings)


def _learns_labels(text: str) -> bool:
    return re.search(r"^  labels_as_text: true", text, re.MULTILINE) is not None


def _assumptions(facts: PairFacts, size: float) -> tuple[str, ...]:
    rows = f"{facts.num_rows:,} rows" if facts.complete else f"the first {facts.num_rows:,} rows"
    learnt = f"what is learnt: {facts.target}, from {facts.source}"
    split_off = f"{size:.0%} of the rows are split off, those of one source together"
    return (*facts.notes, f"{rows} looked at", learnt, *sibling_assumptions(facts.siblings, split_off))


def _warnings(facts: PairFacts) -> tuple[str, ...]:
    if not facts.num_bad_rows:
        return ()
    return (f"rows that cannot be read: {facts.num_bad_rows}; `ftkit check` lists them",)
