"""`ftkit check` of a recipe of task seq2seq: sources and targets as the model will see them, and what it will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftkit.recipe.parse import LoadedRecipe
from ftkit.tasks.seq2seq.check_tables import PairExample, Seq2seqCheck

if TYPE_CHECKING:
    from ftkit.data.dataset import Splits
    from ftkit.inputs.pairs import Pairs

EXAMPLES = 2
EXAMPLE_TOKENS = 400
"""Tokens of a source, and of a target, that are shown."""


def check_seq2seq_data(loaded: LoadedRecipe) -> Seq2seqCheck:
    """Read and tokenize the data of a recipe, audit it and plan the run; no weight is read.

    Raises:
        UserError: the data or the base model cannot be had, or do not fit.
    """
    from ftkit.models.checkpoint import locate
    from ftkit.models.seq2seq import load_tokenizer_for_seq2seq, refuse_decoders_and_encoders
    from ftkit.tasks.seq2seq.audit import audit_pairs, pair_token_report
    from ftkit.tasks.seq2seq.examples import pair_lengths, tokenize_pair_splits
    from ftkit.tasks.seq2seq.form import load_splits
    from ftkit.tasks.seq2seq.pair_outputs import decoding_of, grouped_sources
    from ftkit.training.seq2seq_plan import make_seq2seq_plan

    recipe = loaded.recipe
    checkpoint = locate(recipe.model)
    splits = load_splits(recipe.data, seed=recipe.training.seed)
    refuse_decoders_and_encoders(checkpoint)
    tokenizer = load_tokenizer_for_seq2seq(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    lengths = pair_lengths(recipe, checkpoint)
    tokens = tokenize_pair_splits(tokenizer, splits, lengths=lengths)
    return Seq2seqCheck(
        notes=(*splits.notes, *grouped_sources(splits)),
        skipped=len(splits.skipped),
        audit=audit_pairs(splits),
        label_counts=_label_counts(splits),
        tokens={
            name: pair_token_report(found, source_limit=lengths.source_limit, target_limit=lengths.target_limit)
            for name, found in tokens.all.items()
        },
        max_new_tokens=decoding_of(recipe.generation, tokens.train, seed=recipe.training.seed).max_new_tokens,
        examples=_examples(tokenizer, tokens.train.pairs),
        plan=make_seq2seq_plan(recipe, checkpoint, tokens.train),
    )


def _label_counts(splits: Splits) -> dict[str, int]:
    if not splits.label_names:
        return {}
    import numpy as np

    counts = np.bincount(splits.train.labels, minlength=len(splits.label_names))
    return dict(zip(splits.label_names, counts.tolist(), strict=True))


def _examples(tokenizer: Any, pairs: Pairs) -> tuple[PairExample, ...]:
    def shown(ids: Any, offsets: Any, row: int) -> str:
        start, stop = int(offsets[row]), int(offsets[row + 1])
        text: str = tokenizer.decode(ids[start : min(stop, start + EXAMPLE_TOKENS)].tolist())
        return text + (" ..." if stop - start > EXAMPLE_TOKENS else "")

    return tuple(
        PairExample(
            shown(pairs.source_ids, pairs.source_offsets, row), shown(pairs.target_ids, pairs.target_offsets, row)
        )
        for row in range(min(EXAMPLES, len(pairs)))
    )
