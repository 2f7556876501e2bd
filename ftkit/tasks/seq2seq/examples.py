"""The splits of task seq2seq as tokens, and a word on everything that was cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.data.dataset import Splits
from ftkit.data.mixture.shares import mixing_told
from ftkit.errors import UserError
from ftkit.inputs.pairs import Pairs, TokenizedPairs, tokenize_pairs
from ftkit.inputs.unknown import unknown_warning
from ftkit.inputs.written import note_written
from ftkit.models.checkpoint import LONGEST_WRITTEN, Checkpoint
from ftkit.models.seq2seq import refuse_decoders_and_encoders, refuse_float16, refuse_without_first_token
from ftkit.progress import Reporter
from ftkit.tasks.seq2seq.audit import READS_NEAR, PairLengths, cut_sentences, width_of
from ftkit.tasks.seq2seq.outputs import decoding_of, grouped_sources
from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from ftkit.tasks.seq2seq.texts import text_warnings
from ftkit.tasks.seq2seq.tokenizer import languages_in_words, task_tokenizer
from ftkit.training.probes import probe_rows
from ftkit.training.way import Data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


TWO_MODELS = "encoder-decoder"
"""Type of an encoder and a decoder that were joined, such as two BERTs: peft finds the layers of neither."""


def make_examples(recipe: Seq2SeqRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter) -> Data[Pairs]:
    """The splits as tokens; says how much is read and learnt, and what was cut.

    Raises:
        UserError: the tokenizer does not do, or more was asked than the model has positions for.
    """
    tokenizer = task_tokenizer(recipe.data, splits, checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    if (languages := languages_in_words(tokenizer, recipe.data)) is not None:
        reporter.say(f"languages: {languages}")
    lengths = pair_lengths(recipe, checkpoint)
    tokens = tokenize_splits(tokenizer, splits, lengths=lengths)
    note_written(tokenizer, tokens["train"].pairs.target_ids)
    say_tokens(tokens, tokenizer, lengths=lengths, reporter=reporter)
    for warning in text_warnings(splits, tokenizer, checkpoint, prefix=recipe.data.source_prefix):
        reporter.say(f"warning: {warning}")
    for line in grouped_sources(splits):
        reporter.say(line)
    train = tokens["train"].pairs
    return Data(
        splits=splits,
        processor=tokenizer,
        examples={name: found.pairs for name, found in tokens.items()},
        probed=train.take(probe_rows(len(train), seed=recipe.training.seed)),
        limits={
            "max_length": lengths.source,
            "max_target_length": lengths.target,
            "max_new_tokens": decoding_of(recipe.generation, train, seed=recipe.training.seed).max_new_tokens,
        },
        counts={"tokens": token_counts(tokens)},
        mixing=mixing_told(splits, train.rows, reporter.say, targets=train.target_lengths),
    )


def refuse_base(recipe: Seq2SeqRecipe, checkpoint: Checkpoint) -> None:
    """Refuse a base that does not fit, before its data are looked at and before a weight is read.

    Raises:
        UserError: it is no encoder-decoder, does not say what its decoder begins with, would be trained in a precision
            that breaks it, or by a method that it has no place for.
    """
    refuse_decoders_and_encoders(checkpoint)
    refuse_without_first_token(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    refuse_float16(checkpoint, fp16=recipe.training.fp16, dtype=recipe.model.dtype)
    if recipe.method.trains == "prompt" and checkpoint.config.get("model_type") == TWO_MODELS:
        raise UserError(
            f"method.type: {recipe.method.type} needs one model that reads and writes, and {checkpoint.name} is two",
            fix="set method.type: lora or full",
        )


def pair_lengths(recipe: Seq2SeqRecipe, checkpoint: Checkpoint) -> PairLengths:
    """Tokens of a source and of a target at most.

    A trained prompt takes its positions before the source, a prefix before the target.

    Raises:
        UserError: more was asked than the model has positions for.
    """
    method = recipe.method
    prompt, prefix = method.input_tokens, method.output_tokens
    without_end = checkpoint.counts_distances
    source, source_limit = _length(
        recipe.data.max_length, checkpoint.position_limit, without_end, key="data.max_length", prompt=prompt
    )
    target, target_limit = _length(
        recipe.data.max_target_length, checkpoint.target_limit, without_end, key="data.max_target_length", prefix=prefix
    )
    near = checkpoint.config.get("model_type") in READS_NEAR
    return PairLengths(source, target, source_limit, target_limit, width_of(checkpoint), reads_near=near)


def _length(
    asked: int | None, declared: int | None, without_end: bool, *, key: str, **taken: int
) -> tuple[int, int | None]:
    """Tokens that are kept, and for how many there are positions when something learnt has `taken` some of them."""
    limit = None if declared is None or without_end else declared - sum(taken.values())
    if asked is None:
        return min(number for number in (LONGEST_WRITTEN, declared, limit) if number is not None), limit
    if limit is not None and asked > limit:
        less = "".join(f", {number} of them for the {name}" for name, number in taken.items() if number)
        raise UserError(
            f"{key} is {asked}, but the model has positions for {declared} tokens{less}",
            fix=f"set {key} to at most {limit}",
        )
    return asked, limit


def tokenize_splits(
    tokenizer: PreTrainedTokenizerBase, splits: Splits, *, lengths: PairLengths
) -> dict[str, TokenizedPairs]:
    """Every split as tokens, train first.

    Args:
        tokenizer: of the base model.
        splits: sources and targets.
        lengths: tokens kept of each.
    """
    return {
        split.name: tokenize_pairs(tokenizer, split, max_length=lengths.source, max_target_length=lengths.target)
        for split in splits.all()
    }


def token_counts(tokens: Mapping[str, TokenizedPairs]) -> dict[str, dict[str, Any]]:
    """Counts by split, JSON-able."""
    return {
        name: {
            "source_tokens": len(found.pairs.source_ids),
            "target_tokens": len(found.pairs.target_ids),
            "examples": found.num_examples,
            "sources_cut": found.sources_cut,
            "targets_cut": found.targets_cut,
        }
        for name, found in tokens.items()
    }


def say_tokens(
    tokens: Mapping[str, TokenizedPairs],
    tokenizer: PreTrainedTokenizerBase,
    *,
    lengths: PairLengths,
    reporter: Reporter,
) -> None:
    """Tell how much is read and learnt, and everything that was cut or is not in the vocabulary."""
    train = token_counts(tokens)["train"]
    reporter.say(f"{train['source_tokens']:,} tokens of sources are read, {train['target_tokens']:,} of targets learnt")
    for name, found in tokens.items():
        said = cut_sentences(name, found, lengths)
        for line in (*(f"warning: {much}" for much in said.much), *said.little):
            reporter.say(line)
    _say_unknown(tokens["train"], tokenizer, reporter=reporter)


def unknown_in(tokenizer: PreTrainedTokenizerBase, tokens: Mapping[str, TokenizedPairs]) -> list[str]:
    """What the tokenizer hardly knows, a sentence for each side of such a split."""
    found = (
        unknown_warning(tokenizer, ids, whose=f"of the {name} {side}")
        for name, one in tokens.items()
        for side, ids in (("sources", one.pairs.source_ids), ("targets", one.pairs.target_ids))
    )
    return list(filter(None, found))


def _say_unknown(train: TokenizedPairs, tokenizer: PreTrainedTokenizerBase, *, reporter: Reporter) -> None:
    """T5 knows no braces, no line breaks and few scripts: what it cannot write, it cannot learn to write."""
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown == tokenizer.eos_token_id:
        return
    for what, ids, offsets in (
        ("sources", train.pairs.source_ids, train.pairs.source_offsets),
        ("targets", train.pairs.target_ids, train.pairs.target_offsets),
    ):
        counted = np.add.reduceat(ids == unknown, offsets[:-1], dtype=np.int64)
        if num_rows := int(np.count_nonzero(counted)):
            reporter.say(
                f"warning: {num_rows:,} of {train.num_examples:,} training {what} have characters that the tokenizer "
                f"does not know ({int(counted.sum()):,} unknown tokens)"
                + ("; they cannot be written" if what == "targets" else "")
            )
