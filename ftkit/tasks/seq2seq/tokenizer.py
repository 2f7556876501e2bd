"""The tokenizer of task seq2seq: that of its base, in the languages of the data."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ftkit.data.dataset import Split, Splits
from ftkit.errors import UserError
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.languages import listed, marks_languages, own_languages, refuse_language, set_languages
from ftkit.models.seq2seq import load_tokenizer_for_seq2seq
from ftkit.tasks.seq2seq.recipe import Seq2SeqData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SIDES = ("source", "target")


def task_tokenizer(
    data: Seq2SeqData, splits: Splits, checkpoint: Checkpoint, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the base, and set the languages of the data where it marks them.

    Raises:
        UserError: there is none that does; a language is missing, or none of its own.
    """
    tokenizer = load_tokenizer_for_seq2seq(checkpoint, trust_remote_code=trust_remote_code)
    languages = tuple(_language(data, side) for side in SIDES)
    for side, named in zip(SIDES, languages, strict=True):
        if named is not None:
            refuse_language(tokenizer, named, what=f"data.{side}_language")
    for split in splits.all():
        _refuse_rows(tokenizer, split, data)
    if not marks_languages(tokenizer):
        return tokenizer
    if data.source_language_column is not None or data.target_language_column is not None:
        # of all the pairs the commonest, for those who load the model without naming one
        set_languages(tokenizer, *usual_languages(splits.train, data))
    elif languages[0] is not None and languages[1] is not None:
        set_languages(tokenizer, languages[0], languages[1])
    elif (own := own_languages(tokenizer)) is not None:
        set_languages(tokenizer, *own)
    else:
        raise UserError(
            f"{checkpoint.name} marks the language of what it reads and of what it writes, and the recipe names none",
            fix=f"set data.source_language and data.target_language, or a column of each; {listed(tokenizer)}",
        )
    return tokenizer


def languages_in_words(tokenizer: PreTrainedTokenizerBase, data: Seq2SeqData) -> str | None:
    """What is read and what is written, for the reader; None where the tokenizer marks no languages."""
    if not marks_languages(tokenizer):
        return None
    sides = zip(SIDES, (data.source_language_column, data.target_language_column), strict=True)
    own = dict(zip(SIDES, (tokenizer.src_lang, tokenizer.tgt_lang), strict=True))
    told = [
        f"{side}s are {own[side]}" if column is None else f"{side}s are as `{column}` says" for side, column in sides
    ]
    return ", ".join(told)


def _language(data: Seq2SeqData, side: str) -> str | None:
    return data.source_language if side == "source" else data.target_language


def _refuse_rows(tokenizer: PreTrainedTokenizerBase, split: Split, data: Seq2SeqData) -> None:
    columns = (data.source_language_column, data.target_language_column)
    for column, codes in zip(columns, (split.languages(targets=False), split.languages(targets=True)), strict=True):
        for code in dict.fromkeys(codes or ()):
            refuse_language(tokenizer, code, what=f"a language in column {column}", where=split.source)


def usual_languages(train: Split, data: Seq2SeqData) -> tuple[str, str]:
    """The commonest pair of languages in a training set whose rows name theirs."""
    return Counter(languages_of(train, data)).most_common(1)[0][0]


def languages_of(split: Split, data: Seq2SeqData) -> list[tuple[str, str]]:
    """The languages of both sides of each row, (N,)."""
    sources = split.languages(targets=False) or [data.source_language or ""] * len(split)
    targets = split.languages(targets=True) or [data.target_language or ""] * len(split)
    return list(zip(sources, targets, strict=True))
