"""The audit of sources and targets before step 1, and what their tokens come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from ftkit.data.audit import LanguageAudit, count_language, number_of, other_warnings, percent_of, token_statistics
from ftkit.data.dataset import Splits
from ftkit.inputs.pairs import TokenizedPairs

_MANY_CUT = 1.0
"""Percent."""


@dataclass(frozen=True)
class SideReport:
    """Tokens of all sources or of all targets, special tokens included, before anything is cut.

    Attributes:
        mean: average length.
        p50: median.
        p95: 95th percentile.
        longest: the greatest.
        max_length: tokens that are kept.
        percent_cut: those longer than that, 0 to 100.
        length_for_99_percent: the smallest max_length that would cut less than 1 % of them.
    """

    mean: float
    p50: int
    p95: int
    longest: int
    max_length: int
    percent_cut: float
    length_for_99_percent: int


@dataclass(frozen=True)
class PairTokenReport:
    """What the tokens of one split come to.

    Attributes:
        sources: lengths of what the encoder reads.
        targets: lengths of what the decoder is to write.
        num_examples: pairs.
        num_source_tokens: tokens of all sources, after cutting.
        num_target_tokens: tokens of all targets, after cutting, which are learnt.
        warnings: what of this a person should look at, one sentence each.
    """

    sources: SideReport
    targets: SideReport
    num_examples: int
    num_source_tokens: int
    num_target_tokens: int
    warnings: list[str]

    def to_dict(self) -> dict[str, object]:
        """The same as JSON can hold it."""
        return asdict(self)


def audit_pairs(splits: Splits) -> LanguageAudit:
    """Count what can be counted without a tokenizer.

    What counts is whether a source is in two splits: a model that has seen another translation of a sentence is no
    longer asked something new.

    Args:
        splits: as load_splits makes them.
    """
    figures = count_language(splits)
    for pair, count in figures.prompt_leaks.items():
        first, second = pair.split("/")
        if count:
            share = percent_of(count, figures.rows[second])
            figures.warnings.append(
                f"{number_of(count, f'{second} example')} ({share}) with a source that is also in {first}: scores will"
                " be too good."
            )
    figures.warnings.extend(other_warnings(figures))
    return figures


def pair_token_report(
    tokenized: TokenizedPairs, *, source_limit: int | None = None, target_limit: int | None = None
) -> PairTokenReport:
    """Count the tokens of a split.

    Args:
        tokenized: of at least one pair.
        source_limit: tokens of a source that the model has positions for; None: any number.
        target_limit: the same for a target.
    """
    pairs = tokenized.pairs
    sources = _side(tokenized.source_lengths, tokenized.max_length)
    targets = _side(tokenized.target_lengths, tokenized.max_target_length)
    warnings: list[str] = []
    if sources.percent_cut > _MANY_CUT:
        warnings.append(_cut("sources", sources, "data.max_length", source_limit))
    if targets.percent_cut > _MANY_CUT:
        warnings.append(_cut("targets", targets, "data.max_target_length", target_limit))
    return PairTokenReport(
        sources, targets, tokenized.num_examples, len(pairs.source_ids), len(pairs.target_ids), warnings
    )


def _side(lengths: npt.NDArray[np.int64], max_length: int) -> SideReport:
    found = token_statistics({"": lengths}, max_length)[""]
    return SideReport(
        mean=found.mean,
        p50=found.p50,
        p95=found.p95,
        longest=found.longest,
        max_length=max_length,
        percent_cut=found.percent_truncated,
        length_for_99_percent=found.length_for_99_percent,
    )


def _cut(what: str, side: SideReport, key: str, limit: int | None) -> str:
    wanted = side.length_for_99_percent
    advice = f"{key}: {wanted} would cut less than 1%."
    if limit is not None and wanted > limit:
        advice = f"less than 1% would need {wanted:,}, and the model has positions for {limit:,}."
    return f"{side.percent_cut:.1f}% of the {what} are cut at {side.max_length:,} tokens: {advice}"
