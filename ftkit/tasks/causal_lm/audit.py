"""The audit of a language model's data before step 1, and what its tokens come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from ftkit.data.audit import (
    NOUNS,
    LanguageAudit,
    TokenStatistics,
    count_language,
    cut_warning,
    leak_warnings,
    number_of,
    other_warnings,
    percent_of,
    token_statistics,
)
from ftkit.data.dataset import Splits
from ftkit.inputs.sequences import Tokenized

_MANY_MERGED, _FEW_LEARNT = 0.1, 0.02


@dataclass(frozen=True)
class TokenReport:
    """What the tokens of one split come to.

    Attributes:
        lengths: of whole examples; documents are cut into pieces and lose nothing.
        num_examples: documents, completions or chats.
        num_sequences: what they became.
        num_learnt: tokens that are targets.
        percent_learnt: their share, 0 to 100.
        num_unlearnt: examples left out since nothing to learn was left of them.
        num_merged_boundaries: examples whose prompt ends within a token, so that it was tokenized by itself.
        warnings: one sentence each.
    """

    lengths: TokenStatistics
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
        figures = asdict(self)
        return {**figures.pop("lengths"), **figures}


def audit(splits: Splits) -> LanguageAudit:
    """Count what can be counted without a tokenizer; a second or two for a million short rows."""
    figures = count_language(splits)
    # one prompt for all rows (`Write a story:`) is no leak
    various = {split.name for split in splits.all() if figures.kind != "text" and len(np.unique(split.prompt_keys)) > 1}
    figures.warnings.extend(_leak_warnings(figures, various) + other_warnings(figures))
    return figures


def _leak_warnings(figures: LanguageAudit, various: set[str]) -> list[str]:
    noun = NOUNS[figures.kind]
    prompts_alone = {
        pair: count - figures.leaks[pair]
        for pair, count in figures.prompt_leaks.items()
        if pair.partition("/")[2] in various
    }
    return [
        *leak_warnings(figures.leaks, figures.rows, noun, lambda first: f"also in {first}: scores will be too good."),
        *leak_warnings(
            prompts_alone,
            figures.rows,
            noun,
            lambda first: f"with a prompt that is also in {first}, answered otherwise: scores may be too good.",
        ),
    ]


def token_report(tokenized: Tokenized, name: str = "train", *, limit: int | None = None) -> TokenReport:
    """Count the tokens of a split of at least one example.

    Args:
        tokenized: the split.
        name: of the split, for messages.
        limit: what the model has positions for, if any.
    """
    lengths = replace(
        token_statistics(tokenized.lengths, tokenized.max_length),
        percent_truncated=100.0 * tokenized.num_truncated / tokenized.num_examples,
        length_for_99_percent=tokenized.length_for_99_percent,
    )
    sequences = tokenized.sequences
    num_tokens, num_learnt = tokenized.num_tokens, int(sequences.learnt.sum())
    report = TokenReport(
        lengths=lengths,
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
    report.warnings.extend(f"{text[0].upper()}{text[1:]}." for text in tokenized.chat_warnings(name))
    return report


def _token_warnings(report: TokenReport, limit: int | None) -> list[str]:
    found: list[str] = []
    if report.num_unlearnt:
        share = percent_of(report.num_unlearnt, report.num_examples)
        found.append(
            f"{number_of(report.num_unlearnt, 'example')} ({share}) left out: what is to be learnt lies beyond"
            f" {report.lengths.max_length:,} tokens."
        )
    found += cut_warning("examples", "data.max_length", report.lengths, limit)
    if report.num_merged_boundaries > _MANY_MERGED * report.num_examples:
        share = percent_of(report.num_merged_boundaries, report.num_examples)
        found.append(
            f"In {number_of(report.num_merged_boundaries, 'example')} ({share}) a token would reach from the prompt"
            " into what is learnt: set the space between the two behind <learn>, not before it."
        )
    if 0 < report.percent_learnt < 100 * _FEW_LEARNT:
        found.append(f"Only {report.percent_learnt:.1f}% of the tokens are learnt; the others are prompts.")
    return found
