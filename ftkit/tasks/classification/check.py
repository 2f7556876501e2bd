"""`ftkit check` of a classifier's recipe: its texts and labels, and what the training will cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ftkit.methods.frozen import FrozenMethod
from ftkit.report.check import DataCheck, count_lines, listed, shown_rows, source_lines
from ftkit.report.tables import shortened, table_lines

if TYPE_CHECKING:
    from ftkit.data.audit import TokenStatistics
    from ftkit.data.dataset import Split, Splits
    from ftkit.models.checkpoint import Checkpoint, Pooling
    from ftkit.tasks.classification.audit import DataAudit
    from ftkit.tasks.classification.recipe import ClassificationRecipe

ROWS_TOKENIZED = 20_000
"""Rows of each split whose tokens are counted; of more, the first that many."""
MOST_LABELS = 20
INPUT_CHARACTERS = 300


def check_data(recipe: ClassificationRecipe) -> DataCheck:
    """Read the data of a recipe, audit it and plan the run; no weight is read.

    Raises:
        UserError: the data or the base model cannot be had.
    """
    import numpy as np

    from ftkit.data.audit import token_statistics
    from ftkit.decoding.going_on import going_on_notes
    from ftkit.inputs.unknown import unknown_warning
    from ftkit.models.adapted.base import locate_base
    from ftkit.models.causal import open_tokenizer
    from ftkit.models.checkpoint import resolve_pooling
    from ftkit.tasks.classification.audit import audit
    from ftkit.tasks.classification.form import load_splits
    from ftkit.tasks.classification.plan import plan_classifier
    from ftkit.training.again.refit import refit_notes

    checkpoint = locate_base(recipe)
    splits = load_splits(recipe.data, seed=recipe.training.seed, head=checkpoint.head_labels)
    pooling = resolve_pooling(checkpoint, recipe.method.pooling) if isinstance(recipe.method, FrozenMethod) else None
    max_length = checkpoint.max_length(recipe.data.max_length, pooling=pooling)
    tokenizer = open_tokenizer(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    ids = {split.name: _token_ids(tokenizer, split) for split in splits.apart()}
    lengths = {name: np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) for name, rows in ids.items()}
    unknown = (unknown_warning(tokenizer, rows, whose=f"of the {name} texts") for name, rows in ids.items())
    tokens = {name: token_statistics(found, max_length) for name, found in lengths.items()}
    rows_tokenized = {name: len(found) for name, found in lengths.items()}
    examples = _examples(tokenizer, splits, max_length=max_length)
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
            *source_lines(splits, np.arange(len(splits.train))),
            *_token_lines(tokens, rows_tokenized, found.rows),
        ],
        warnings=[*filter(None, unknown), *_cut_warnings(tokens["train"]), *found.warnings],
        examples=[
            f"{'one a source' if splits.train.source_names else 'two examples'} as the model will see them",
            *(f"  {shortened(shown['input'], INPUT_CHARACTERS)}  ->  {shown['label']}" for shown in examples),
        ],
        figures={
            "audit": asdict(found),
            "tokens": {split: asdict(counted) for split, counted in tokens.items()},
            "rows_tokenized": rows_tokenized,
            "examples": examples,
        },
        plan=plan_classifier(
            recipe,
            checkpoint,
            num_rows=len(splits.train),
            num_labels=len(splits.label_names),
            length=tokens["train"].p95,
        ),
    )


def _head_notes(checkpoint: Checkpoint, splits: Splits, pooling: Pooling | None) -> list[str]:
    from ftkit.encoders.base_head import base_head

    head = None if pooling is not None and pooling.kind != "cls" else base_head(checkpoint, splits.label_names)
    return [] if head is None else [head.note]


def _token_ids(tokenizer: Any, split: Split) -> list[list[int]]:
    table = split.table.slice(0, ROWS_TOKENIZED)
    pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
    encoded = tokenizer(table["text"].to_pylist(), pairs, return_attention_mask=False, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _examples(tokenizer: Any, splits: Splits, *, max_length: int) -> list[dict[str, str]]:
    examples = []
    for row in splits.train.table.take(shown_rows(splits.train)).to_pylist():
        ids = tokenizer(row["text"], row.get("text_pair"), truncation=True, max_length=max_length)["input_ids"]
        examples.append({"input": tokenizer.decode(ids), "label": splits.label_names[row["label"]]})
    return examples


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
    return [*lines, f"leaks: {listed(found.leaks)}"]


def _token_lines(tokens: dict[str, TokenStatistics], rows_tokenized: dict[str, int], rows: dict[str, int]) -> list[str]:
    lines = [["tokens", "mean", "p50", "p95", "longest", "truncated"]]
    for split, found in tokens.items():
        counted = [f"{found.mean:.1f}", f"{found.p50}", f"{found.p95}", f"{found.longest}"]
        of = "" if rows_tokenized[split] == rows[split] else f"  first {rows_tokenized[split]:,} rows"
        lines.append([f"  {split}", *counted, f"{found.percent_truncated:.1f}%", of])
    return table_lines(lines, align="<>", widths=(28, 8, 8, 8, 9, 11, 0), gap=0)


def _cut_warnings(train: TokenStatistics) -> list[str]:
    if train.percent_truncated <= 1:
        return []
    return [
        f"{train.percent_truncated:.1f} % of the training texts are cut at {train.max_length} tokens; "
        f"data.max_length: {train.length_for_99_percent} would cut less than 1 %"
    ]
