"""The audit of a language model's data before step 1, and what its tokens come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pyarrow.compute as pc

from ftkit.data.dataset import Split, Splits
from ftkit.data.duplicates import example_columns, text_columns
from ftkit.inputs.sequences import Tokenized
from ftkit.tasks.classification.audit import (
    WRONGLY_DECODED,
    leaks,
    number_of,
    percent_of,
    rows_matching,
    token_statistics,
)

_MANY_MERGED = 0.1
_FEW_LEARNT = 0.02
_NOUNS = {"text": "document", "completion": "example", "chat": "chat"}


@dataclass(frozen=True)
class LanguageAudit:
    """What was counted. Split names are train, validation and, where there is one, test.

    Texts count as the same when they differ in case, spacing and Unicode form only.

    Attributes:
        kind: text, completion or chat.
        rows: split -> documents, completions or chats.
        characters: split -> characters of them, prompts included (of chats: as JSON).
        duplicates: split -> rows that occur in an earlier row of the split.
        repeated_prompts: split -> other rows whose prompt occurs in an earlier row of the split; none for texts.
        leaks: `train/validation`, `train/test` and `validation/test` -> rows of the second that are in the first.
        prompt_leaks: the same for prompts alone; none for texts.
        empty_texts: split -> rows in which there is nothing to learn.
        wrongly_decoded: split -> rows with the marks of a wrong encoding.
        warnings: what of this a person should look at, one sentence each.
    """

    kind: str
    rows: dict[str, int]
    characters: dict[str, int]
    duplicates: dict[str, int]
    repeated_prompts: dict[str, int]
    leaks: dict[str, int]
    prompt_leaks: dict[str, int]
    empty_texts: dict[str, int]
    wrongly_decoded: dict[str, int]
    warnings: list[str]

    def to_dict(self) -> dict[str, object]:
        """The same as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class TokenReport:
    """What the tokens of one split come to; lengths are of whole examples, before anything is cut.

    Attributes:
        mean: average length.
        p50: median.
        p95: 95th percentile.
        longest: the greatest.
        max_length: tokens of a sequence at most.
        percent_truncated: examples whose end is cut off, 0 to 100; documents are cut into pieces and lose nothing.
        length_for_99_percent: the smallest max_length that would cut less than 1 % of the examples.
        num_examples: documents, completions or chats.
        num_sequences: what they became.
        num_tokens: tokens of all sequences.
        num_learnt: those of them that are targets.
        percent_learnt: their share, 0 to 100.
        num_unlearnt: examples left out since nothing to learn was left of them.
        num_merged_boundaries: examples whose prompt ends within a token, so that it was tokenized by itself.
        warnings: what of this a person should look at, one sentence each.
    """

    mean: float
    p50: int
    p95: int
    longest: int
    max_length: int
    percent_truncated: float
    length_for_99_percent: int
    num_examples: int
    num_sequences: int
    num_tokens: int
    num_learnt: int
    percent_learnt: float
    num_unlearnt: int
    num_merged_boundaries: int
    warnings: list[str]

    def to_dict(self) -> dict[str, object]:
        """The same as JSON can hold it."""
        return asdict(self)


def audit_language(splits: Splits) -> LanguageAudit:
    """Count what can be counted without a tokenizer; a second or two for a million short rows."""
    figures = count_language(splits)
    # one prompt for all rows (`Write a story:`) is no leak
    various = {split.name for split in splits.all() if figures.kind != "text" and _differ(split.prompt_keys)}
    figures.warnings.extend(_leaks(figures, various) + other_warnings(figures))
    return figures


def count_language(splits: Splits) -> LanguageAudit:
    """The figures of an audit without its warnings."""
    assert splits.prompting is not None, "splits of a language model, which have a prompting"
    present = splits.all()
    kind = splits.prompting.kind
    prompted = present if kind != "text" else ()
    return LanguageAudit(
        kind=kind,
        rows={split.name: len(split) for split in present},
        characters={split.name: _characters(split) for split in present},
        duplicates={split.name: _repeats(split.keys) for split in present},
        repeated_prompts={split.name: _repeats(split.prompt_keys) - _repeats(split.keys) for split in prompted},
        leaks=leaks({split.name: split.keys for split in present}),
        prompt_leaks=leaks({split.name: split.prompt_keys for split in prompted}),
        empty_texts={split.name: _empty(split, kind) for split in present},
        wrongly_decoded={
            split.name: rows_matching(split, WRONGLY_DECODED, text_columns(split.table)) for split in present
        },
        warnings=[],
    )


def _differ(keys: np.ndarray) -> bool:
    return len(np.unique(keys)) > 1


def _characters(split: Split) -> int:
    columns = (split.table.column(name) for name in example_columns(split.table))
    return sum(int(pc.sum(pc.utf8_length(column)).as_py() or 0) for column in columns)


def _repeats(keys: np.ndarray) -> int:
    return len(keys) - len(np.unique(keys))


def _empty(split: Split, kind: str) -> int:
    # the answers of a chat were looked at when it was read
    return 0 if kind == "chat" else rows_matching(split, r"^\s*$", ["completion" if kind == "completion" else "text"])


def _leaks(figures: LanguageAudit, various: set[str]) -> list[str]:
    noun = _NOUNS[figures.kind]
    found: list[str] = []
    for pair, count in figures.leaks.items():
        if count:
            first, second = pair.split("/")
            share = percent_of(count, figures.rows[second])
            found.append(f"{number_of(count, f'{second} {noun}')} ({share}) also in {first}: scores will be too good.")
    for pair, count in figures.prompt_leaks.items():
        first, second = pair.split("/")
        if (other := count - figures.leaks[pair]) > 0 and second in various:
            share = percent_of(other, figures.rows[second])
            found.append(
                f"{number_of(other, f'{second} {noun}')} ({share}) with a prompt that is also in {first}, answered"
                " otherwise: scores may be too good."
            )
    return found


def other_warnings(figures: LanguageAudit) -> list[str]:
    """Behind the leaks: what makes the model worse, then what to know."""
    noun = _NOUNS[figures.kind]
    found: list[str] = []
    for split, count in figures.empty_texts.items():
        if count:
            found.append(f"{number_of(count, f'{split} {noun}')} with nothing to learn.")
    for split, count in figures.wrongly_decoded.items():
        if count:
            share = percent_of(count, figures.rows[split])
            found.append(
                f"{number_of(count, f'{split} {noun}')} ({share}) with the marks of a wrong encoding (such as Ã© for"
                " é): was the file read and written with the wrong one?"
            )
    for split, count in figures.duplicates.items():
        if count:
            share = percent_of(count, figures.rows[split])
            found.append(f"{number_of(count, f'{split} {noun}')} ({share}) equal to an earlier one.")
    return found


def token_report(tokenized: Tokenized, *, limit: int | None = None) -> TokenReport:
    """Count the tokens of a split that was made into sequences.

    Args:
        tokenized: of at least one example.
        limit: tokens that the model has positions for; None: any number.
    """
    lengths = token_statistics({"": tokenized.lengths}, tokenized.max_length)[""]
    sequences = tokenized.sequences
    num_tokens, num_learnt = len(sequences.ids), int(sequences.learnt.sum())
    report = TokenReport(
        mean=lengths.mean,
        p50=lengths.p50,
        p95=lengths.p95,
        longest=lengths.longest,
        max_length=tokenized.max_length,
        percent_truncated=100.0 * tokenized.num_truncated / tokenized.num_examples,
        length_for_99_percent=tokenized.length_for_99_percent,
        num_examples=tokenized.num_examples,
        num_sequences=len(sequences),
        num_tokens=num_tokens,
        num_learnt=num_learnt,
        percent_learnt=100.0 * num_learnt / max(1, num_tokens),
        num_unlearnt=tokenized.num_unlearnt,
        num_merged_boundaries=tokenized.num_merged_boundaries,
        warnings=[],
    )
    report.warnings.extend(_token_warnings(report, limit))
    return report


def _token_warnings(report: TokenReport, limit: int | None) -> list[str]:
    found: list[str] = []
    if report.num_unlearnt:
        share = percent_of(report.num_unlearnt, report.num_examples)
        found.append(
            f"{number_of(report.num_unlearnt, 'example')} ({share}) left out: what is to be learnt lies beyond"
            f" {report.max_length:,} tokens."
        )
    if report.percent_truncated > 1:
        wanted = report.length_for_99_percent
        advice = f"data.max_length: {wanted} would cut less than 1%."
        if limit is not None and wanted > limit:
            advice = f"less than 1% would need {wanted:,}, and the model has positions for {limit:,}."
        found.append(
            f"{report.percent_truncated:.1f}% of the examples are cut at {report.max_length:,} tokens: {advice}"
        )
    if report.num_merged_boundaries > _MANY_MERGED * report.num_examples:
        share = percent_of(report.num_merged_boundaries, report.num_examples)
        found.append(
            f"In {number_of(report.num_merged_boundaries, 'example')} ({share}) a token would reach from the prompt"
            " into what is learnt: set the space between the two behind <learn>, not before it."
        )
    if 0 < report.percent_learnt < 100 * _FEW_LEARNT:
        found.append(f"Only {report.percent_learnt:.1f}% of the tokens are learnt; the others are prompts.")
    return found
