"""The audit of sources and targets before step 1: what their tokens come to, what is cut, what would keep it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from ftkit.data.audit import (
    MANY_CUT,
    LanguageAudit,
    TokenStatistics,
    count_language,
    leak_warnings,
    other_warnings,
    percent_of,
    token_statistics,
)
from ftkit.data.dataset import Splits
from ftkit.inputs.pairs import TokenizedPairs
from ftkit.metrics.scores import Integers
from ftkit.models.checkpoint import Checkpoint

READS_LONG = {"LED": 16_384, "Pegasus-X": 16_384, "LongT5": None}
"""Encoder-decoders for long sources, all of which ftkit trains -> positions of an encoder as they are published; None:
distances, which have no end. The work that a token takes in their encoders hardly grows with the text."""
READS_NEAR = ("led", "pegasus_x", "longt5", "bigbird_pegasus")
"""model_type of encoders whose tokens look at their neighbours and a few others, not at all."""


@dataclass(frozen=True)
class PairLengths:
    """Tokens of a source and of a target, special tokens included.

    Attributes:
        source: that are kept of a source.
        target: that are kept of a target.
        source_limit: that the model has positions for; None where it counts distances, which have no end.
        target_limit: the same for a target.
        width: numbers in a vector of the model; None where its configuration does not say.
        reads_near: whether a token of a source looks at its neighbours and a few others, not at all.
    """

    source: int
    target: int
    source_limit: int | None = None
    target_limit: int | None = None
    width: int | None = None
    reads_near: bool = False


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


def token_report(tokenized: TokenizedPairs, name: str, lengths: PairLengths) -> SidesReport:
    """Count the tokens of a split of at least one pair, called by its name in what is said of it."""
    pairs = tokenized.pairs
    sources = token_statistics(tokenized.source_lengths, tokenized.max_length)
    targets = token_statistics(tokenized.target_lengths, tokenized.max_target_length)
    warnings = [f"{said}." for said in cut_sentences(name, tokenized, lengths).much]
    return SidesReport(sources, targets, tokenized.num_examples, len(pairs.source_ids), len(pairs.target_ids), warnings)


class UncutSide(NamedTuple):
    """The sources, or the targets, of a split before they are cut.

    Attributes:
        what: they are, in the plural.
        key: of the recipe that sets their length.
        lengths: tokens of each (N,).
        kept: tokens that are kept of each at most.
        limit: tokens that the model has positions for; None: any number.
        width: numbers in a vector of the model; None where that is not known.
        near: whether the work of a token does not grow with the text.
    """

    what: str
    key: str
    lengths: Integers
    kept: int
    limit: int | None
    width: int | None
    near: bool

    @property
    def is_read(self) -> bool:
        """Whether an encoder reads them."""
        return self.what == "sources"

    def held_by(self, length: int) -> int:
        """How many are no longer than that."""
        return int((self.lengths <= length).sum())


def width_of(checkpoint: Checkpoint) -> int | None:
    """Numbers in a vector of a model, of its encoder where it has two; None where its configuration does not say."""
    config = checkpoint.config
    parts = (config, *(part for part in (config.get("encoder"),) if isinstance(part, dict)))
    widths = (part.get(name) for part in parts for name in ("d_model", "hidden_size"))
    return next((width for width in widths if isinstance(width, int) and width > 0), None)


class CutSentences(NamedTuple):
    """What is cut of a split: sentences to warn with, where it is much, and others; without a stop at their end."""

    much: list[str]
    little: list[str]


def cut_sentences(name: str, found: TokenizedPairs, lengths: PairLengths) -> CutSentences:
    """What is cut of a split of that name, and what it would take to keep it."""
    much: list[str] = []
    little: list[str] = []
    for side in _sides(found, lengths):
        num_cut = len(side.lengths) - side.held_by(side.kept)
        said = (
            f"{num_cut:,} of {len(side.lengths):,} {name} {side.what} ({percent_of(num_cut, len(side.lengths))}) are "
            f"longer than {side.kept:,} tokens and are cut"
        )
        if num_cut * 100 > MANY_CUT * len(side.lengths):
            lost = int(np.maximum(0, side.lengths - side.kept).sum())
            share = percent_of(lost, int(side.lengths.sum()))
            much.append(f"{said}, {lost:,} tokens ({share} of all) with them: {_what_it_takes(side)}")
        elif num_cut:
            little.append(said)
    return CutSentences(much, little)


def _sides(found: TokenizedPairs, lengths: PairLengths) -> tuple[UncutSide, UncutSide]:
    return (
        UncutSide(
            "sources",
            "data.max_length",
            found.source_lengths,
            found.max_length,
            lengths.source_limit,
            lengths.width,
            near=lengths.reads_near,
        ),
        UncutSide(
            "targets",
            "data.max_target_length",
            found.target_lengths,
            found.max_target_length,
            lengths.target_limit,
            lengths.width,
            near=False,
        ),
    )


def _what_it_takes(side: UncutSide) -> str:
    """Lengths that would hold 95 % and all, whether the model has positions for so many, and what a step would cost."""
    counted = token_statistics(side.lengths, side.kept)
    longest, wanted = counted.longest, {counted.p95: "95% of them", counted.longest: "all"}
    wanted = {length: whom for length, whom in wanted.items() if length > side.kept}
    fitting = {length: whom for length, whom in wanted.items() if side.limit is None or length <= side.limit}
    if not fitting and side.limit is not None and (held := side.held_by(side.limit)) > side.held_by(side.kept):
        fitting = {side.limit: f"{percent_of(held, len(side.lengths))} of them"}
    told = [f"{side.key}: {' or '.join(_held(side, fitting))}"] if fitting else []
    beyond = [f"{length:,} tokens would hold {whom}" for length, whom in wanted.items() if length not in fitting]
    if beyond:
        told.append(f"{' and '.join(beyond)}, and the model has positions for {side.limit:,}; {_others(side, longest)}")
    return "; ".join(told)


def _held(side: UncutSide, lengths: dict[int, str]) -> list[str]:
    now = _work(side, side.kept)
    part = "encoder" if side.is_read else "decoder"
    said = []
    for length, whom in lengths.items():
        more = f", for {_work(side, length) / now:.1f} times the work of the {part}" if side.width else ""
        said.append(f"{length} (holds {whom}{more})")
    return said


def _work(side: UncutSide, kept: int) -> float:
    """Multiplications that one side takes, up to a factor.

    A layer takes 12 d^2 for each token in its matrices and 2 n d in its attention over n tokens, so n (6 d + n) for a
    text of n. Source: Kaplan et al. 2020, table 1, with attention to both sides.
    """
    counts = np.minimum(side.lengths, kept).astype(np.float64)
    return float((counts * (6 * (side.width or 0) + (0.0 if side.near else counts))).sum())


def _others(side: UncutSide, longest: int) -> str:
    if not side.is_read:
        return "models that count distances between tokens (T5, mT5, LongT5) write texts of any length"
    able = [name for name, limit in READS_LONG.items() if limit is None or longest <= limit]
    return f"{', '.join(able)} read{'s' if len(able) == 1 else ''} so many, each token by its neighbours"
