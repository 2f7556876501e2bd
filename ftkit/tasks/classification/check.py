"""`ftkit check` of a classifier's recipe: its texts and labels, and what the training will cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.methods.frozen import FrozenMethod
from ftkit.report.check import DataCheck, count_lines, listed, shown_rows, source_lines
from ftkit.report.tables import shortened, table_lines

if TYPE_CHECKING:
    from ftkit.data.audit import TokenStatistics
    from ftkit.data.dataset import Split, Splits
    from ftkit.models.checkpoint import Checkpoint, Pooling
    from ftkit.recipe.data_section import LongTexts
    from ftkit.tasks.classification.audit import DataAudit
    from ftkit.tasks.classification.recipe import ClassificationRecipe

ROWS_TOKENIZED = 20_000
"""Rows of each split whose tokens are counted; of more, the first that many."""
MOST_LABELS = 20
INPUT_CHARACTERS = 300
MANY_IN_WINDOWS = 10.0
"""Percent of the training texts that are cut above which windows are advised."""


def check_data(recipe: ClassificationRecipe) -> DataCheck:
    """Read the data of a recipe, audit it and plan the run; no weight is read.

    Raises:
        UserError: the data or the base model cannot be had.
    """
    from ftkit.data.audit import token_statistics
    from ftkit.decoding.going_on import going_on_notes
    from ftkit.inputs.text import Frame
    from ftkit.models.adapted.base import locate_base
    from ftkit.models.causal import open_tokenizer
    from ftkit.models.checkpoint import resolve_pooling
    from ftkit.tasks.classification.audit import audit
    from ftkit.tasks.classification.form import load_splits
    from ftkit.tasks.classification.plan import plan_classifier
    from ftkit.tasks.classification.train import rehearse
    from ftkit.training.again.refit import refit_notes

    checkpoint = locate_base(recipe)
    splits = load_splits(recipe.data, seed=recipe.training.seed, head=checkpoint.head_labels)
    rehearse(recipe, splits, checkpoint)
    pooling = resolve_pooling(checkpoint, recipe.method.pooling) if isinstance(recipe.method, FrozenMethod) else None
    max_length = checkpoint.max_length(recipe.data.max_length, pooling=pooling)
    tokenizer = open_tokenizer(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    lengths, unknown = _lengths(tokenizer, splits)
    tokens = {name: token_statistics(found, max_length) for name, found in lengths.items()}
    rows_tokenized = {name: len(found) for name, found in lengths.items()}
    long_texts = recipe.data.reads_long_texts(max_length)
    limit = None if checkpoint.counts_distances else checkpoint.position_limit
    read = _how_long_texts_are_read(
        long_texts, lengths, splits.train, max_length=max_length, num_special=sum(Frame.of(tokenizer)), limit=limit
    )
    examples = _examples(tokenizer, splits, max_length=max_length, long_texts=long_texts)
    found = audit(splits)
    return DataCheck(
        notes=[
            *splits.notes,
            *going_on_notes(recipe.model, checkpoint, splits),
            *refit_notes(recipe, splits),
            *_head_notes(checkpoint, splits, pooling),
        ],
        skipped=len(splits.skipped),
        lines=[
            *_count_lines(found),
            *source_lines(splits, _rows_learnt(recipe, splits, read)),
            *_token_lines(tokens, rows_tokenized, found.rows),
            *read.lines,
        ],
        warnings=[*unknown, *read.warnings, *found.warnings],
        examples=[
            f"{'one a source' if splits.train.source_names else 'two examples'} as the model will see them",
            *(f"  {shortened(shown['input'], INPUT_CHARACTERS)}  ->  {shown['label']}" for shown in examples),
        ],
        figures={
            "audit": asdict(found),
            "tokens": {split: asdict(counted) for split, counted in tokens.items()},
            **read.figures,
            "rows_tokenized": rows_tokenized,
            "examples": examples,
        },
        plan=plan_classifier(
            recipe,
            checkpoint,
            num_rows=len(splits.train),
            num_windows=round(len(splits.train) * float(read.windows.mean())),
            num_labels=len(splits.label_names),
            length=tokens["train"].p95,
        ),
    )


def _head_notes(checkpoint: Checkpoint, splits: Splits, pooling: Pooling | None) -> list[str]:
    from ftkit.encoders.base_head import base_head

    head = None if pooling is not None and pooling.kind != "cls" else base_head(checkpoint, splits.label_names)
    return [] if head is None else [head.note]


def _lengths(tokenizer: Any, splits: Splits) -> tuple[dict[str, Any], list[str]]:
    """Tokens of each text by split (N,), of the first ROWS_TOKENIZED; and what is to be said of unknown ones."""
    import numpy as np

    from ftkit.inputs.unknown import unknown_warning

    ids = {split.name: _token_ids(tokenizer, split) for split in splits.apart()}
    unknown = (unknown_warning(tokenizer, rows, whose=f"of the {name} texts") for name, rows in ids.items())
    lengths = {name: np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) for name, rows in ids.items()}
    return lengths, list(filter(None, unknown))


def _token_ids(tokenizer: Any, split: Split) -> list[list[int]]:
    from ftkit.inputs.encoding import batches

    table = split.table.slice(0, ROWS_TOKENIZED)
    pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
    texts, ids = table["text"].to_pylist(), list[list[int]]()
    for part in batches(texts, pairs):
        second = None if pairs is None else pairs[part]
        ids += tokenizer(texts[part], second, return_attention_mask=False, verbose=False)["input_ids"]
    return ids


def _examples(tokenizer: Any, splits: Splits, *, max_length: int, long_texts: LongTexts) -> list[dict[str, str]]:
    """The first texts, or their first windows."""
    from ftkit.inputs.text import tokenize_texts

    table = splits.train.table.take(shown_rows(splits.train))
    pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
    tokens = tokenize_texts(tokenizer, table["text"].to_pylist(), pairs, max_length=max_length, long_texts=long_texts)
    labels = [splits.label_names[label] for label in table["label"].to_pylist()]
    ids = [tokens.columns["input_ids"][first] for first in tokens.firsts.tolist()]
    return [{"input": tokenizer.decode(one), "label": label} for one, label in zip(ids, labels, strict=True)]


def _count_lines(found: DataAudit) -> list[str]:
    labels = list(found.label_counts["train"])
    hidden = len(labels) - MOST_LABELS
    of_labels = {
        f"  {label}": {split: counts.get(label, 0) for split, counts in found.label_counts.items()}
        for label in labels[:MOST_LABELS]
    }
    others = {
        "duplicates": found.duplicates,
        "labelled in two ways": found.conflicts,
        "empty texts": found.empty_texts,
    }
    lines = count_lines("rows", {"": found.rows, **of_labels, **others})
    if hidden > 0:
        lines.insert(len(lines) - len(others), f"  and {hidden} more labels")
    return [*lines, *([f"leaks: {listed(found.leaks)}"] if found.leaks else [])]


def _token_lines(tokens: dict[str, TokenStatistics], rows_tokenized: dict[str, int], rows: dict[str, int]) -> list[str]:
    lines = [["tokens", "mean", "p50", "p95", "longest", "truncated"]]
    for split, found in tokens.items():
        counted = [f"{found.mean:.1f}", f"{found.p50}", f"{found.p95}", f"{found.longest}"]
        of = "" if rows_tokenized[split] == rows[split] else f"  first {rows_tokenized[split]:,} rows"
        lines.append([f"  {split}", *counted, f"{found.percent_truncated:.1f}%", of])
    return table_lines(lines, align="<>", widths=(28, 8, 8, 8, 9, 11, 0), gap=0)


class _Read(NamedTuple):
    """What becomes of long texts: what is said and warned of, figures, and windows of each training row (N,)."""

    lines: list[str]
    warnings: list[str]
    figures: dict[str, Any]
    windows: Any


def _how_long_texts_are_read(
    long_texts: LongTexts,
    lengths: dict[str, Any],
    train: Split,
    *,
    max_length: int,
    num_special: int,
    limit: int | None,
) -> _Read:
    """Count texts (tokens of each, by split) that are longer than max_length, and their windows.

    Where they are cut, and many are, it is warned of, with what it would take not to.
    """
    from ftkit.data.audit import cut_warning, token_statistics
    from ftkit.recipe.data_section import CUT
    from ftkit.tasks.classification.examples import LongCount, window_counts

    windows = {
        name: long_texts.num_windows(found, max_length=max_length, num_special=num_special)
        for name, found in lengths.items()
    }
    if long_texts == CUT:
        counted = token_statistics(lengths["train"], max_length)
        warnings = cut_warning("training texts", "data.max_length", counted, limit)
        advised = _windows_advised(lengths["train"], train, max_length=max_length, num_special=num_special)
        return _Read([], [*warnings, *advised], {}, windows["train"])
    long = [
        LongCount(name, len(found), int((found > max_length).sum()), int(windows[name].sum()))
        for name, found in lengths.items()
    ]
    lines = [one.in_words(long_texts, max_length=max_length) for one in long if one.num_long]
    return _Read(lines, [], window_counts(long_texts, {one.split: one.num_windows for one in long}), windows["train"])


def _rows_learnt(recipe: ClassificationRecipe, splits: Splits, read: _Read) -> Any:
    """The training row that each example is made of (E,): a window each where these are examples and all are known."""
    import numpy as np

    rows = np.arange(len(splits.train))
    are_examples = recipe.method.trains != "head" and len(read.windows) == len(rows)
    return np.repeat(rows, read.windows) if are_examples else rows


def _windows_advised(lengths: Any, train: Split, *, max_length: int, num_special: int) -> list[str]:
    """What reading whole texts would take, where many are cut; a pair has no windows."""
    if train.text_pairs is not None or 100 * float((lengths > max_length).mean()) <= MANY_IN_WINDOWS:
        return []
    from ftkit.recipe.data_section import LongTexts

    usual = LongTexts("windows", max_length // 8)
    counts = usual.num_windows(lengths, max_length=max_length, num_special=num_special)
    return [
        f"data.long_texts: windows would read all of each text, in {float(counts.mean()):.1f} windows on average; "
        "head_and_tail its beginning and its end."
    ]
