"""The splits of a language model as tokens, and a word on everything that was cut or left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.dataset import Splits
from ftkit.errors import UserError
from ftkit.inputs.sequences import Tokenized, evaluation_sequences, training_sequences
from ftkit.models.checkpoint import Checkpoint
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_DEFAULT = 1_024
"""Tokens of an example where the recipe does not say and the model allows more."""
MUCH_PERCENT = 1.0
"""Share of cut examples, in percent, above which the number that would keep them is told."""
LEARNT = {"text": "", "completion": " (the completions)", "chat": " (the assistant's turns)"}


@dataclass(frozen=True)
class TokenizedSplits:
    """The splits as tokens.

    Attributes:
        train: what is learnt, in blocks where documents are packed.
        evaluation: validation and test by name, each document by itself.
    """

    train: Tokenized
    evaluation: dict[str, Tokenized]

    def facts(self) -> dict[str, dict[str, Any]]:
        """Counts by split, JSON-able."""
        return {
            name: {
                "tokens": len(found.sequences.ids),
                "learnt_tokens": int(found.sequences.learnt.sum()),
                "examples": found.num_examples,
                "truncated": found.num_truncated,
                "left_out": found.num_unlearnt,
            }
            for name, found in {"train": self.train, **self.evaluation}.items()
        }


def example_length(recipe: Recipe, checkpoint: Checkpoint) -> int:
    """Tokens of an example at most; a trained prompt takes its positions before it.

    Raises:
        UserError: more was asked than the model has positions for.
    """
    prompt = recipe.method.input_tokens
    asked = recipe.data.max_length
    found = checkpoint.max_length(asked, longest=LONGEST_DEFAULT)
    whole = checkpoint.max_length(None, longest=found + prompt)
    if asked is not None and whole < asked + prompt:
        raise UserError(
            f"data.max_length is {asked} and method.num_virtual_tokens {prompt}, but {checkpoint.name} has positions "
            f"for {whole} tokens",
            fix=f"set data.max_length to at most {whole - prompt}",
        )
    return whole - prompt


def tokenize_splits(
    tokenizer: PreTrainedTokenizerBase, splits: Splits, *, max_length: int, packed: bool, limit: int
) -> TokenizedSplits:
    """Every split as tokens.

    Args:
        tokenizer: of the base model.
        splits: texts, prompts with completions, or chats.
        max_length: tokens of an example.
        packed: whether training documents lie end to end.
        limit: tokens that the model has positions for.

    Raises:
        UserError: no token of a split is left to learn.
    """
    prompting = splits.prompting
    assert prompting is not None, "the data room says how examples are written"
    train = training_sequences(tokenizer, splits.train, prompting, max_length=max_length, packing=packed)
    evaluation = {
        split.name: evaluation_sequences(tokenizer, split, prompting, max_length=max_length)
        for split in splits.all()[1:]
    }
    for name, found in {"train": train, **evaluation}.items():
        if not found.sequences.learnt.any():
            wanted = found.length_for_99_percent
            longer = f"set data.max_length: {wanted}, or " if wanted <= limit else ""
            raise UserError(
                f"nothing of the {name} set is left to learn: within {max_length} tokens no example has a target",
                fix=f"{longer}shorten the prompts"
                + ("" if longer else f": the model has positions for {limit:,} tokens"),
            )
    return TokenizedSplits(train, evaluation)


def say_tokens(tokens: TokenizedSplits, splits: Splits, *, limit: int, reporter: Reporter) -> None:
    """Tell what is learnt, and everything that was cut or left out.

    Args:
        tokens: of the splits.
        splits: what they were made of.
        limit: tokens that the model has positions for.
        reporter: hears of it.
    """
    assert splits.prompting is not None, "the data room says how examples are written"
    facts = tokens.facts()
    about = LEARNT[splits.prompting.kind] if splits.prompting.completion_only_loss else ""
    reporter.say(
        f"{facts['train']['learnt_tokens']:,} of {facts['train']['tokens']:,} training tokens are learnt{about}"
    )
    for name, found in {"train": tokens.train, **tokens.evaluation}.items():
        for line in _lines(name, found, limit=limit):
            reporter.say(line)


def _lines(name: str, found: Tokenized, *, limit: int) -> list[str]:
    lines, max_length = [], found.max_length
    percent = 100 * found.num_truncated / max(1, found.num_examples)
    if found.num_truncated:
        wanted = found.length_for_99_percent
        advice = f"; data.max_length: {wanted} would cut less than 1 %"
        if wanted > limit:
            advice = f"; less than 1 % would need {wanted}, and the model has positions for {limit}"
        lines.append(
            f"{'warning: ' if percent > MUCH_PERCENT else ''}{found.num_truncated:,} of {found.num_examples:,} {name} "
            f"examples ({percent:.1f} %) are longer than {max_length} tokens and were cut"
            + (advice if percent > MUCH_PERCENT else "")
        )
    if found.num_unlearnt:
        lines.append(
            f"warning: {found.num_unlearnt:,} {name} examples are left out: none of their targets is within "
            f"{max_length} tokens"
        )
    if found.num_open_turns:
        lines.append(
            f"warning: in {found.num_open_turns:,} of {found.num_examples:,} {name} chats an answer before the last "
            "has no end token, so stopping there is not learnt; let data.chat_template write eos_token after each"
        )
    if found.num_merged_boundaries:
        lines.append(
            f"{found.num_merged_boundaries:,} of {found.num_examples:,} {name} prompts end where a token would go on "
            "into the completion; it is split there, as it will be when the model is asked"
        )
    return lines
