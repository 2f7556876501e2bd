"""The tokens of every split, with their labels: what a classifier is given whose weights are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ftkit.data.dataset import Split, Splits
from ftkit.data.mixture.shares import mixing_told
from ftkit.inputs.text import TokenizedTexts, tokenize_texts
from ftkit.inputs.unknown import unknown_warning
from ftkit.models.causal import open_tokenizer
from ftkit.models.checkpoint import Checkpoint
from ftkit.progress import Reporter
from ftkit.recipe.data_section import LongTexts
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.training.probes import probe_rows
from ftkit.training.way import Data


class LongCount(NamedTuple):
    """Rows of a split that are longer than a model reads at once, and in how many windows all rows are read."""

    split: str
    num_rows: int
    num_long: int
    num_windows: int

    def in_words(self, long_texts: LongTexts, *, max_length: int) -> str:
        """What becomes of them."""
        said = (
            f"{self.num_long} of {self.num_rows} {self.split} texts ({self.num_long / self.num_rows:.1%}) are longer "
            f"than {max_length} tokens and "
        )
        if long_texts.kind == "windows":
            return f"{said}are read in windows: {self.num_windows:,} for all texts ({long_texts.in_words})"
        lose = {"cut": "were cut (data.max_length)", "head_and_tail": "lose their middle (data.long_texts)"}
        return said + lose[long_texts.kind]


def window_counts(long_texts: LongTexts, num_windows: Mapping[str, int]) -> dict[str, Any]:
    """What the manifest says of windows, by split; nothing where there are none."""
    return {"windows": dict(num_windows)} if long_texts.kind == "windows" else {}


def make_examples(
    recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
) -> Data[TokenizedTexts]:
    """Every split as tokens with their labels; says what was cut."""
    tokenizer = open_tokenizer(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    # decoders such as GPT-2 come without one; the last real token is then found by it, so it must be set
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    max_length = checkpoint.max_length(recipe.data.max_length)

    long_texts = recipe.data.reads_long_texts(max_length)

    def tokenize(split: Split) -> TokenizedTexts:
        found = tokenize_texts(tokenizer, split.texts, split.text_pairs, max_length=max_length, long_texts=long_texts)
        return replace(found, labels=split.labels[found.rows])

    tokens = {split.name: tokenize(split) for split in splits.all()}
    for name, found in tokens.items():
        if warning := unknown_warning(tokenizer, found.columns["input_ids"], whose=f"of the {name} texts"):
            reporter.say(f"warning: {warning}")
    truncated = {name: found.num_truncated for name, found in tokens.items()}
    for name, found in tokens.items():
        if found.num_truncated:
            num_rows = len(found.scored_rows)
            counted = LongCount(name, num_rows=num_rows, num_long=found.num_truncated, num_windows=len(found))
            reporter.say(counted.in_words(long_texts, max_length=max_length))
    return Data(
        splits=splits,
        processor=tokenizer,
        examples=tokens,
        probed=tokens["train"].take_texts(probe_rows(len(splits.train), seed=recipe.training.seed)),
        limits={"max_length": max_length},
        counts={"truncated": truncated, **window_counts(long_texts, {name: len(one) for name, one in tokens.items()})},
        mixing=mixing_told(splits, tokens["train"].rows, reporter.say),
    )
