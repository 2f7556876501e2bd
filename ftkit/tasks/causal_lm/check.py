"""`ftkit check` of a language model's recipe: its data as the model will see it, and what the training will cost."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

from ftkit.recipe.parse import LoadedRecipe
from ftkit.tasks.causal_lm.check_tables import LanguageCheck

if TYPE_CHECKING:
    from ftkit.inputs.sequences import Sequences

EXAMPLES = 2
EXAMPLE_TOKENS = 400
"""Tokens of an example that are shown."""
LEARNT_MARKS = ("⟦", "⟧")
"""What is learnt stands between them."""


def check_language_data(loaded: LoadedRecipe) -> LanguageCheck:
    """Read and tokenize the data of a recipe, audit it and plan the run; no weight is read.

    Raises:
        UserError: the data or the base model cannot be had, or nothing is left to learn.
    """
    from ftkit.models.causal import load_tokenizer_for_lm, refuse_other_kinds
    from ftkit.models.checkpoint import locate
    from ftkit.tasks.causal_lm.audit import audit_language, token_report
    from ftkit.tasks.causal_lm.examples import example_length, tokenize_splits
    from ftkit.tasks.causal_lm.form import load_splits
    from ftkit.training.language_plan import make_language_plan
    from ftkit.training.prepared import may_pack

    recipe = loaded.recipe
    checkpoint = locate(recipe.model)
    splits = load_splits(recipe.data, seed=recipe.training.seed)
    refuse_other_kinds(checkpoint)
    tokenizer = load_tokenizer_for_lm(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    max_length = example_length(recipe, checkpoint)
    packed = may_pack(recipe)
    limit = checkpoint.max_length(None, longest=sys.maxsize)
    tokens = tokenize_splits(tokenizer, splits, max_length=max_length, packed=packed, limit=limit)
    plan = make_language_plan(recipe, checkpoint, tokens.train.sequences, max_length=max_length, packed=packed)
    return LanguageCheck(
        notes=splits.notes,
        skipped=len(splits.skipped),
        audit=audit_language(splits),
        tokens={
            name: token_report(found, limit=limit)
            for name, found in {"train": tokens.train, **tokens.evaluation}.items()
        },
        examples=marked_examples(tokenizer, tokens.train.sequences),
        plan=plan,
    )


def marked_examples(tokenizer: Any, sequences: Sequences) -> tuple[str, ...]:
    """The first examples as the model will see them, special tokens included, what is learnt between ⟦ and ⟧."""
    return tuple(_marked(tokenizer, sequences, row) for row in range(min(EXAMPLES, len(sequences))))


def _marked(tokenizer: Any, sequences: Sequences, row: int) -> str:
    import numpy as np

    start = int(sequences.offsets[row])
    stop = min(int(sequences.offsets[row + 1]), start + EXAMPLE_TOKENS)
    ids, learnt = sequences.ids[start:stop], sequences.learnt[start:stop]
    cuts = [0, *(np.flatnonzero(np.diff(learnt)) + 1).tolist(), len(ids)]
    parts = []
    for first, last in itertools.pairwise(cuts):
        text = tokenizer.decode(ids[first:last].tolist())
        parts.append(f"{LEARNT_MARKS[0]}{text}{LEARNT_MARKS[1]}" if learnt[first] else text)
    return "".join(parts) + (" ..." if stop < int(sequences.offsets[row + 1]) else "")
