"""The audit of sources and targets before step 1, and what their tokens come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ftkit.data.audit import (
    LanguageAudit,
    TokenStatistics,
    count_language,
    cut_warning,
    leak_warnings,
    other_warnings,
    token_statistics,
)
from ftkit.data.dataset import Splits
from ftkit.inputs.pairs import TokenizedPairs


@dataclass(frozen=True)
class SidesReport:
    """What the tokens of one split come to: lengths before anything is cut, sums of tokens after it."""

    sources: TokenStatistics
    targets: TokenStatistics
    num_examples: int
    num_source_tokens: int
    num_target_tokens: int
    warnings: list[str]

    def to_dict(self) -> dict[str, object]:
        """The same as JSON can hold it."""
        figures = asdict(self)
        for side in ("sources", "targets"):
            names = {"percent_truncated": "percent_cut"}
            figures[side] = {names.get(name, name): value for name, value in figures[side].items()}
        return figures


def audit(splits: Splits) -> LanguageAudit:
    """Count what can be counted without a tokenizer.

    What counts is whether a source is in two splits: a model that has seen another translation of a sentence is no
    longer asked something new.
    """
    figures = count_language(splits)
    figures.warnings.extend(
        leak_warnings(
            figures.prompt_leaks,
            figures.rows,
            "example",
            lambda first: f"with a source that is also in {first}: scores will be too good.",
        )
    )
    figures.warnings.extend(other_warnings(figures))
    return figures


def token_report(
    tokenized: TokenizedPairs, *, source_limit: int | None = None, target_limit: int | None = None
) -> SidesReport:
    """Count the tokens of a split of at least one pair; limits are tokens that the model has positions for, if any."""
    pairs = tokenized.pairs
    sources = token_statistics(tokenized.source_lengths, tokenized.max_length)
    targets = token_statistics(tokenized.target_lengths, tokenized.max_target_length)
    warnings = [
        *cut_warning("sources", "data.max_length", sources, source_limit),
        *cut_warning("targets", "data.max_target_length", targets, target_limit),
    ]
    return SidesReport(sources, targets, tokenized.num_examples, len(pairs.source_ids), len(pairs.target_ids), warnings)
