"""The splits of a language model as tokens, and a word on everything that was cut or left out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.data.audit import MANY_CUT
from ftkit.data.dataset import Splits
from ftkit.data.mixture.shares import mixing_told
from ftkit.data.prompting import Prompting
from ftkit.errors import UserError
from ftkit.inputs.documents import evaluation_sequences, training_sequences
from ftkit.inputs.examples import Rows
from ftkit.inputs.mixed import of_each_source
from ftkit.inputs.sequences import Sequences, Tokenized
from ftkit.inputs.unknown import unknown_warning
from ftkit.inputs.written import note_written
from ftkit.models.causal import load_tokenizer_for_lm
from ftkit.models.checkpoint import LONGEST_WRITTEN, Checkpoint
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.tasks.causal_lm.recipe import CausalRecipe
from ftkit.training.probes import probe_rows
from ftkit.training.way import Data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEARNT = {"text": "", "completion": " (the completions)", "chat": " (the assistant's turns)"}


def make_examples(
    recipe: CausalRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
) -> Data[Sequences]:
    """The splits as tokens, laid end to end where the recipe lets them; says what is learnt, cut and left out.

    Raises:
        UserError: the tokenizer does not do, or no token of a split is left to learn.
    """
    tokenizer = load_tokenizer_for_lm(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    max_length, packed = example_length(recipe, checkpoint), may_pack(recipe)
    limit = checkpoint.max_length(None, longest=sys.maxsize)
    stride = evaluation_stride(recipe, splits, max_length=max_length)
    tokens = tokenize_splits(tokenizer, splits, max_length=max_length, packed=packed, limit=limit, stride=stride)
    train = tokens["train"].sequences
    if len(rows := _rows_without_turns(splits)):
        train = train if len(rows) == len(splits.train) else train.take(np.flatnonzero(np.isin(train.rows, rows)))
        note_written(tokenizer, train.ids[train.learnt])
    say_tokens(tokens, splits, limit=limit, reporter=reporter)
    for note in window_notes(tokens, stride):
        reporter.say(note)
    for warning in unknown_in(tokenizer, tokens):
        reporter.say(f"warning: {warning}")
    probed = train_pieces(tokenizer, splits, max_length=max_length, seed=recipe.training.seed, stride=stride)
    learnt = tokens["train"].sequences
    return Data(
        splits=splits,
        processor=tokenizer,
        examples={name: replace(found.sequences, packed=packed) for name, found in tokens.items()},
        probed=replace(probed, packed=packed),
        limits={"max_length": max_length},
        counts={"tokens": token_counts(tokens)},
        mixing=mixing_told(splits, learnt.rows, reporter.say, targets=learnt.num_learnt),
    )


def _rows_without_turns(splits: Splits) -> Rows:
    """Numbers of the training rows (n,) that are no chats: special tokens of a chat stand for its turns."""
    numbers = splits.train.source_numbers
    sources = np.zeros(len(splits.train), dtype=np.int64) if numbers is None else numbers
    chats = [number for number in np.unique(sources).tolist() if splits.prompting_of(number).kind == "chat"]
    return np.flatnonzero(~np.isin(sources, chats))


def training_promptings(splits: Splits) -> list[Prompting]:
    """How the training rows of each source become what a model reads, the first source first."""
    numbers = splits.train.source_numbers
    return [splits.prompting_of(number) for number in ([0] if numbers is None else np.unique(numbers).tolist())]


def may_pack(recipe: CausalRecipe) -> bool:
    """Whether a recipe lets examples lie end to end, if the model does not mind."""
    return recipe.data.packing is not False and not recipe.method.input_tokens


def evaluation_stride(recipe: Recipe, splits: Splits, *, max_length: int) -> int | None:
    """Tokens by which the windows advance in which long documents are scored; None where they share one token.

    Raises:
        UserError: one is asked for that windows of max_length cannot have, or of examples that are cut off.
    """
    stride = recipe.evaluation.window_stride()
    if stride is None:
        return None
    if "text" not in {prompting.kind for prompting in training_promptings(splits)}:
        raise UserError(
            "evaluation.stride is for texts: completions and chats that are longer than data.max_length lose their end",
            fix="remove it, or raise data.max_length",
        )
    if stride >= max_length:
        raise UserError(
            f"evaluation.stride is {stride}, and a window has {max_length} tokens: the first of the next would have "
            "nothing before it",
            fix=f"set evaluation.stride to at most {max_length - 1}; half of that gives every token as much context",
        )
    return stride


def train_pieces(
    tokenizer: PreTrainedTokenizerBase, splits: Splits, *, max_length: int, seed: int, stride: int | None
) -> Sequences:
    """The train probe: at most PROBE_ROWS pieces of at most as many training documents, as those to score are cut.

    Their `rows` are numbers of the training set.
    """
    rows = probe_rows(len(splits.train), seed=seed)
    split = splits.train.with_table(splits.train.table.take(rows))
    to_score = partial(evaluation_sequences, tokenizer, max_length=max_length, stride=stride)
    pieces = of_each_source(split, splits, to_score).sequences
    chosen = pieces.take(probe_rows(len(pieces), seed=seed))
    return replace(chosen, rows=rows[chosen.rows])


def example_length(recipe: Recipe, checkpoint: Checkpoint) -> int:
    """Tokens of an example at most; a trained prompt takes its positions before it.

    Raises:
        UserError: more was asked than the model has positions for.
    """
    prompt = recipe.method.input_tokens
    asked = recipe.data.max_length
    found = checkpoint.max_length(asked, longest=LONGEST_WRITTEN)
    whole = checkpoint.max_length(None, longest=found + prompt)
    if asked is not None and whole < asked + prompt:
        raise UserError(
            f"data.max_length is {asked} and method.num_virtual_tokens {prompt}, but {checkpoint.name} has positions "
            f"for {whole} tokens",
            fix=f"set data.max_length to at most {whole - prompt}",
        )
    return whole - prompt


def tokenize_splits(
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    *,
    max_length: int,
    packed: bool,
    limit: int,
    stride: int | None = None,
) -> dict[str, Tokenized]:
    """Every split as tokens, train first; held-out documents each by itself.

    Args:
        tokenizer: of the base model.
        splits: texts, prompts with completions, or chats.
        max_length: tokens of an example.
        packed: whether training documents lie end to end.
        limit: tokens that the model has positions for.
        stride: tokens by which the windows advance in which held-out texts are scored; None for all but one.

    Raises:
        UserError: no token of a split is left to learn.
    """
    to_train_on = partial(training_sequences, tokenizer, max_length=max_length, packing=packed)
    to_score = partial(evaluation_sequences, tokenizer, max_length=max_length, stride=stride)
    tokens = {
        split.name: of_each_source(split, splits, to_train_on if split.name == "train" else to_score)
        for split in splits.all()
    }
    for name, found in tokens.items():
        if not found.sequences.learnt.any():
            wanted = found.length_for_99_percent
            longer = f"set data.max_length: {wanted}, or " if wanted <= limit else ""
            raise UserError(
                f"nothing of the {name} set is left to learn: within {max_length} tokens no example has a target",
                fix=f"{longer}shorten the prompts"
                + ("" if longer else f": the model has positions for {limit:,} tokens"),
            )
    return tokens


def unknown_in(tokenizer: PreTrainedTokenizerBase, tokens: Mapping[str, Tokenized]) -> list[str]:
    """What the tokenizer hardly knows, a sentence for each such split."""
    found = (
        unknown_warning(tokenizer, one.sequences.ids, whose=f"of the {name} texts") for name, one in tokens.items()
    )
    return list(filter(None, found))


def token_counts(tokens: Mapping[str, Tokenized]) -> dict[str, dict[str, Any]]:
    """Counts by split, JSON-able."""
    return {
        name: {
            "tokens": found.num_tokens,
            "learnt_tokens": int(found.sequences.learnt.sum()),
            "examples": found.num_examples,
            "truncated": found.num_truncated,
            "left_out": found.num_unlearnt,
        }
        for name, found in tokens.items()
    }


def window_notes(tokens: Mapping[str, Tokenized], stride: int | None) -> list[str]:
    """In how many windows the held-out texts are scored, and what that takes; nothing without a stride."""
    if stride is None:
        return []
    return [
        f"{name} is scored in {len(found.sequences):,} windows of at most {found.max_length:,} tokens that advance by "
        f"{stride:,}: {len(found.sequences.ids) / max(1, int(found.sequences.learnt.sum())):.1f} tokens are read for "
        "each that is scored"
        for name, found in list(tokens.items())[1:]
    ]


def say_tokens(tokens: Mapping[str, Tokenized], splits: Splits, *, limit: int, reporter: Reporter) -> None:
    """Tell what is learnt, and everything that was cut or left out.

    Args:
        tokens: of the splits.
        splits: what they were made of.
        limit: tokens that the model has positions for.
        reporter: hears of it.
    """
    train = token_counts(tokens)["train"]
    reporter.say(f"{train['learnt_tokens']:,} of {train['tokens']:,} training tokens are learnt{_about(splits)}")
    for name, found in tokens.items():
        for line in _lines(name, found, limit=limit):
            reporter.say(line)


def _about(splits: Splits) -> str:
    """Which tokens are learnt, in words; nothing where that is all of them, or differs between sources."""
    found = {
        LEARNT[prompting.kind] if prompting.completion_only_loss else "" for prompting in training_promptings(splits)
    }
    return found.pop() if len(found) == 1 else ""


def _lines(name: str, found: Tokenized, *, limit: int) -> list[str]:
    lines, max_length = [], found.max_length
    percent = 100 * found.num_truncated / max(1, found.num_examples)
    if found.num_truncated:
        wanted = found.length_for_99_percent
        advice = f"; data.max_length: {wanted} would cut less than 1 %"
        if wanted > limit:
            advice = f"; less than 1 % would need {wanted}, and the model has positions for {limit}"
        lines.append(
            f"{'warning: ' if percent > MANY_CUT else ''}{found.num_truncated:,} of {found.num_examples:,} {name} "
            f"examples ({percent:.1f} %) are longer than {max_length} tokens and were cut"
            + (advice if percent > MANY_CUT else "")
        )
    if found.num_unlearnt:
        lines.append(
            f"warning: {found.num_unlearnt:,} {name} examples are left out: none of their targets is within "
            f"{max_length} tokens"
        )
    lines.extend(f"warning: {text}" for text in found.chat_warnings(name))
    lines.extend(found.chat_notes(name))
    if found.num_merged_boundaries:
        lines.append(
            f"{found.num_merged_boundaries:,} of {found.num_examples:,} {name} prompts end where a token would go on "
            "into the completion; it is split there, as it will be when the model is asked"
        )
    return lines
