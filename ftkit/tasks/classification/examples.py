"""The tokens of every split, with their labels: what a classifier is given whose weights are trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ftkit.data.dataset import Split, Splits
from ftkit.data.mixture.shares import mixing_told
from ftkit.inputs.text import TokenizedTexts, tokenize_texts
from ftkit.inputs.unknown import unknown_warning
from ftkit.models.causal import open_tokenizer
from ftkit.models.checkpoint import Checkpoint
from ftkit.progress import Reporter
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.training.probes import probe_rows
from ftkit.training.way import Data


def make_examples(
    recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
) -> Data[TokenizedTexts]:
    """Every split as tokens with their labels; says what was cut."""
    tokenizer = open_tokenizer(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    # decoders such as GPT-2 come without one; the last real token is then found by it, so it must be set
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    max_length = checkpoint.max_length(recipe.data.max_length)

    def tokenize(split: Split) -> TokenizedTexts:
        return replace(
            tokenize_texts(tokenizer, split.texts, split.text_pairs, max_length=max_length), labels=split.labels
        )

    tokens = {split.name: tokenize(split) for split in splits.all()}
    for name, found in tokens.items():
        if warning := unknown_warning(tokenizer, found.columns["input_ids"], whose=f"of the {name} texts"):
            reporter.say(f"warning: {warning}")
    truncated = {name: found.num_truncated for name, found in tokens.items()}
    for name, num_truncated in truncated.items():
        if num_truncated:
            reporter.say(
                f"{num_truncated} of {len(tokens[name])} {name} texts are longer than {max_length} tokens "
                "and were cut (data.max_length)"
            )
    return Data(
        splits=splits,
        processor=tokenizer,
        examples=tokens,
        probed=tokens["train"].take(probe_rows(len(splits.train), seed=recipe.training.seed)),
        limits={"max_length": max_length},
        counts={"truncated": truncated},
        mixing=mixing_told(splits, np.arange(len(splits.train)), reporter.say),
    )
