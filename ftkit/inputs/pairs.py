"""Sources and targets to token ids in flat arrays: what an encoder reads, and what a decoder is to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ftkit.data.audit import length_for_99_percent
from ftkit.data.dataset import Split
from ftkit.inputs.cutting import ranges
from ftkit.inputs.encoding import special_table
from ftkit.inputs.sides import Side, offsets_of, tokenize_side

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Pairs:
    """N sources of S tokens and their targets of T tokens, each end to end in a flat array.

    Attributes:
        source_ids: (S,) int32, with the special tokens that the tokenizer adds.
        source_offsets: (N + 1,) int64: source n is from source_offsets[n] up to source_offsets[n + 1].
        target_ids: (T,) int32, with the special tokens that the tokenizer adds; a target that was cut has no end token.
        target_offsets: (N + 1,) int64.
        target_special: (T,) bool: the token stands for no text.
        text_bytes: (N,) int64: UTF-8 bytes of each target's text, 0 where the target was cut.
        rows: (N,) int64: the row of the split that each pair is.
    """

    source_ids: npt.NDArray[np.int32]
    source_offsets: npt.NDArray[np.int64]
    target_ids: npt.NDArray[np.int32]
    target_offsets: npt.NDArray[np.int64]
    target_special: npt.NDArray[np.bool_]
    text_bytes: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def source_lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each source (N,)."""
        return np.diff(self.source_offsets)

    @property
    def target_lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each target (N,)."""
        return np.diff(self.target_offsets)

    def take(self, rows: npt.NDArray[np.int64]) -> Pairs:
        """Some of the pairs, in the order of `rows`."""
        sources, targets = self.source_lengths[rows], self.target_lengths[rows]
        source_index = ranges(self.source_offsets[rows], sources)
        target_index = ranges(self.target_offsets[rows], targets)
        return Pairs(
            self.source_ids[source_index],
            offsets_of(sources),
            self.target_ids[target_index],
            offsets_of(targets),
            self.target_special[target_index],
            self.text_bytes[rows],
            self.rows[rows],
        )


@dataclass(frozen=True)
class TokenizedPairs:
    """The pairs of a split, and what became of its examples.

    Attributes:
        pairs: one for each row, in their order.
        num_examples: rows of the split.
        sources_cut: sources that were longer than max_length.
        targets_cut: targets that were longer than max_target_length.
        source_length_for_99_percent: the smallest max_length that would cut less than 1 % of the sources.
        target_length_for_99_percent: the same for targets.
        source_lengths: (num_examples,) int64: tokens of each source, special tokens included, before anything was cut.
        target_lengths: the same for targets.
        max_length: tokens of a source at most.
        max_target_length: tokens of a target at most.
    """

    pairs: Pairs
    num_examples: int
    sources_cut: int
    targets_cut: int
    source_length_for_99_percent: int
    target_length_for_99_percent: int
    source_lengths: npt.NDArray[np.int64]
    target_lengths: npt.NDArray[np.int64]
    max_length: int
    max_target_length: int


def tokenize_pairs(
    tokenizer: PreTrainedTokenizerBase, split: Split, *, max_length: int, max_target_length: int
) -> TokenizedPairs:
    """Tokenize sources and targets, with the special tokens that the tokenizer adds to each.

    A source that is too long is cut as the tokenizer itself would cut it: the special tokens behind it stay. A target
    that is too long loses them, so that stopping in the middle of a sentence is not learnt.

    Args:
        tokenizer: the model's; one without a fast form does too.
        split: of at least one row, with columns prompt and completion.
        max_length: tokens of a source at most, special tokens included, 4 or more.
        max_target_length: tokens of a target at most, special tokens included, 2 or more.

    Raises:
        UserError: the tokenizer sets no end token behind a target, so that a model could not learn to stop.
    """
    sources = tokenize_side(Side(tokenizer, targets=False), split, "prompt", max_length)
    targets = tokenize_side(Side(tokenizer, targets=True), split, "completion", max_target_length)
    cut = targets.lengths > max_target_length
    pairs = Pairs(
        sources.ids,
        sources.offsets,
        targets.ids,
        targets.offsets,
        special_table(tokenizer)[targets.ids],
        np.where(cut, 0, targets.num_bytes),
        np.arange(len(split)),
    )
    return TokenizedPairs(
        pairs,
        num_examples=len(split),
        sources_cut=int((sources.lengths > max_length).sum()),
        targets_cut=int(cut.sum()),
        source_length_for_99_percent=length_for_99_percent(np.sort(sources.lengths)),
        target_length_for_99_percent=length_for_99_percent(np.sort(targets.lengths)),
        source_lengths=sources.lengths,
        target_lengths=targets.lengths,
        max_length=max_length,
        max_target_length=max_target_length,
    )
