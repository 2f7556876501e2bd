"""What a head of rows tells `ftkit new` of text to text: sources and targets, or texts whose labels are written."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from ftkit.data.columns.lessons import refuse_bad_answers, refuse_unobeyed, task_beside
from ftkit.data.columns.names import columns_of
from ftkit.data.columns.pairs import ONE_TEXT_EACH, PairColumns, describe_unclear, guess_pair_columns, pair_by_name
from ftkit.data.look import FileHead, is_labelled, labelled_recipe, recipe_for, rows_seen, some
from ftkit.errors import UserError
from ftkit.recipe.new import NewRecipe, fill, starting_point
from ftkit.tasks.seq2seq.recipe import LABEL_TEXT_METRICS

OF_PAIRS, OF_LABELS = "seq2seq-full", "text-to-text-classification"
"""Starting points where none is named, by what the data holds."""

_OF_LABELS, _OF_PAIRS = {"text", "text_pair", "label"}, {"source", "target"}
columns = frozenset({"text", "text_pair", "label", "source", "target"})
_OPTIONS = "--source-column and --target-column"
_PAIR_KEYS = ("source_column", "target_column", "references_column", "template")
_LABEL_KEYS = ("labels_as_text", "text_column", "text_pair_column", "label_column", "label_names")
_TEXT_METRICS = ["perplexity", "exact_match", "chrf", "rougeL"]


def usual_start(named: Collection[str]) -> str:
    """The starting point where neither one nor data is named."""
    return OF_LABELS if {"label", "text_pair"} & set(named) else OF_PAIRS


def told_by(head: FileHead) -> str | None:
    """Why the data are for this task, in words; None where they do not look like it."""
    otherwise = "--task classification would make a classifier"
    pair = pair_by_name(head.rows)
    if pair is not None:
        return f"task seq2seq: {pair.source} is to become {pair.target}; {otherwise}"
    guess = guess_pair_columns(head.rows)
    if guess.languages or guess.lists:
        return f"task seq2seq: the file holds {'translations' if guess.languages else 'targets'}; {otherwise}"
    return None


def new_recipe(head: FileHead, *, start: str | None, path: Path, model: str | None) -> NewRecipe:
    """Fill a starting point in for a data file.

    Raises:
        UserError: source and target, or text and label, are not obvious and not named; options name both kinds.
    """
    if _holds_labels(head):
        return _label_recipe(head, starting_point(start or OF_LABELS), path=path, model=model)
    return _pair_recipe(head, starting_point(start or OF_PAIRS), path=path, model=model)


def _holds_labels(head: FileHead) -> bool:
    """Whether a file is a data set for classification: by the options, by names of columns, else by their contents."""
    named = head.named.keys()
    if named & _OF_LABELS and named & _OF_PAIRS:
        fix = f"{_OPTIONS} for texts to be written; --text-column and --label-column for labels"
        raise UserError("columns of two kinds are named", where=str(head.path), fix=fix)
    if head.is_text_file or named & _OF_PAIRS or guess_pair_columns(head.rows).lists:
        return False
    if named & _OF_LABELS or is_labelled(head):
        return True
    guess = head.guess()
    return guess.text is not None and guess.label is not None and pair_by_name(head.rows) is None


def _label_recipe(head: FileHead, text: str, *, path: Path, model: str | None) -> NewRecipe:
    values: dict[str, object] = dict.fromkeys((f"data.{key}" for key in _PAIR_KEYS), None)
    values |= {"data.labels_as_text": True, "data.text_pair_column": None}
    if not _learns_labels(text):
        values["evaluation.metrics"] = LABEL_TEXT_METRICS
    new = labelled_recipe(head, fill(text, values), path=path, model=model)
    return NewRecipe(new.text, (*new.assumed, "what is learnt: the name of the label, as a text"), new.warnings)


def _pair_recipe(head: FileHead, text: str, *, path: Path, model: str | None) -> NewRecipe:
    found = _columns(head)
    read = [name for name in (found.source, found.target, found.references) if name is not None]
    refuse_unobeyed(
        head.rows,
        read,
        where=str(head.path),
        completions=True,
        named=bool(head.named),
        keys=("--source-column", "--target-column"),
    )
    refuse_bad_answers(head.rows, read, where=str(head.path))
    # every form but one is commented out: a recipe that names two is refused
    values: dict[str, object] = dict.fromkeys((f"data.{key}" for key in (*_PAIR_KEYS, *_LABEL_KEYS)), None)
    values |= {"data.source_column": found.source, "data.target_column": found.target}
    values["data.references_column"] = found.references
    before = None if head.named else task_beside(head.rows, read)
    if before is not None:
        values |= {"data.source_column": None, "data.target_column": None, "data.template": before.template}
    if _learns_labels(text):
        values["evaluation.metrics"] = _TEXT_METRICS
    learnt = f"what is learnt: {found.target}, from {found.source}"
    learnt += "" if before is None else f" behind {before.column}, which says what is to be done with it"
    return recipe_for(
        head,
        text,
        values,
        path=path,
        model=model,
        assumed=(*found.notes, f"{rows_seen(head)} looked at", learnt),
        split_off="of the rows are split off, those of one source together",
    )


def _learns_labels(text: str) -> bool:
    return re.search(r"^  labels_as_text: true", text, re.MULTILINE) is not None


def _columns(head: FileHead) -> PairColumns:
    """Source and target."""
    if head.is_text_file:
        fix = "write source and target side by side, as CSV or JSON lines"
        raise UserError("a text file has no columns", where=str(head.path), fix=fix)
    found = _named_columns(head) or guess_pair_columns(head.rows)
    if found.source is None or found.target is None:
        there = columns_of(head.rows)
        fix = ONE_TEXT_EACH if found.lists else f"say {_OPTIONS}; columns: {some(found.candidates or there)}"
        raise UserError(describe_unclear(there, found), where=str(head.path), fix=fix)
    return found


def _named_columns(head: FileHead) -> PairColumns | None:
    """The columns that the options name; None where they name none."""
    source, target = head.named.get("source"), head.named.get("target")
    if source is None and target is None:
        return None
    if source is None or target is None:
        given = "--source-column" if target is None else "--target-column"
        raise UserError(f"{given} alone does not say what an example is", fix=f"name both: {_OPTIONS}")
    if source == target:
        raise UserError(f"{_OPTIONS} are both {source}", fix="name two columns")
    return PairColumns(source, target)
