"""`ftkit check`: the resolved recipe, the audit of its data, and the plan, before step 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.recipe.parse import LoadedRecipe, load_recipe
from ftkit.report.check import AnyCheck, DataCheck

if TYPE_CHECKING:
    from ftkit.data.dataset import Splits

ROWS_TOKENIZED = 20_000
"""Rows of each split whose tokens are counted; of more, the first that many."""


def resolved_values(loaded: LoadedRecipe) -> list[tuple[str, Any, str]]:
    """Every value of a recipe as (dotted key, value, where it came from), in the order of the schema."""
    return [
        (key, value, found) for key, value in _leaves(loaded.recipe.model_dump(), "") if (found := _source(loaded, key))
    ]


def _source(loaded: LoadedRecipe, key: str) -> str:
    """Where a value came from; a value below a key of its own, such as a class's weight, from where that did."""
    while key not in loaded.sources and "." in key:
        key = key.rpartition(".")[0]
    return loaded.sources.get(key, "")


def _leaves(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for name, value in values.items():
        key = f"{prefix}{name}"
        leaves += _leaves(value, f"{key}.") if isinstance(value, dict) and value else [(key, value)]
    return leaves


def check_recipe(path: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and validate a recipe; nothing heavy is imported.

    Raises:
        RecipeError: with every problem.
    """
    return load_recipe(path, overrides)


def check_data(loaded: LoadedRecipe) -> AnyCheck:
    """Read the data of a recipe, audit it and plan the run.

    Raises:
        UserError: the data or the base model cannot be had.
    """
    from ftkit.commands.train import stay_offline_unless_remote

    stay_offline_unless_remote(loaded.recipe)
    if loaded.recipe.task == "causal_lm":
        from ftkit.tasks.causal_lm.check import check_language_data

        return check_language_data(loaded)
    if loaded.recipe.task == "seq2seq":
        from ftkit.tasks.seq2seq.check import check_seq2seq_data

        return check_seq2seq_data(loaded)
    return _check_labelled_data(loaded)


def _check_labelled_data(loaded: LoadedRecipe) -> DataCheck:
    from ftkit.data.audit import token_statistics
    from ftkit.encoders.features import load_tokenizer
    from ftkit.models.checkpoint import locate, resolve_pooling
    from ftkit.tasks.classification.audit import audit
    from ftkit.tasks.classification.form import load_splits
    from ftkit.training.plan import make_plan

    recipe = loaded.recipe
    checkpoint = locate(recipe.model)
    splits = load_splits(recipe.data, seed=recipe.training.seed)
    pooling = resolve_pooling(checkpoint, recipe.method.pooling) if recipe.method.type == "frozen" else None
    max_length = checkpoint.max_length(recipe.data.max_length, pooling=pooling)
    tokenizer = load_tokenizer(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    lengths = {split.name: _token_lengths(tokenizer, split) for split in splits.all()}
    tokens = token_statistics(lengths, max_length)
    plan = make_plan(
        recipe,
        checkpoint,
        num_rows=len(splits.train),
        num_labels=len(splits.label_names),
        length=tokens["train"].p95,
    )
    return DataCheck(
        notes=splits.notes,
        skipped=len(splits.skipped),
        audit=audit(splits),
        tokens=tokens,
        rows_tokenized={name: len(found) for name, found in lengths.items()},
        examples=_examples(tokenizer, splits, max_length=max_length),
        plan=plan,
    )


def _token_lengths(tokenizer: Any, split: Any) -> Any:
    import numpy as np

    table = split.table.slice(0, ROWS_TOKENIZED)
    pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
    encoded = tokenizer(table["text"].to_pylist(), pairs, return_attention_mask=False, verbose=False)
    return np.fromiter((len(ids) for ids in encoded["input_ids"]), dtype=np.int64, count=table.num_rows)


def _examples(tokenizer: Any, splits: Splits, *, max_length: int) -> tuple[dict[str, str], ...]:
    table = splits.train.table.slice(0, 2)
    examples = []
    for row in table.to_pylist():
        ids = tokenizer(row["text"], row.get("text_pair"), truncation=True, max_length=max_length)["input_ids"]
        examples.append({"input": tokenizer.decode(ids), "label": splits.label_names[row["label"]]})
    return tuple(examples)
