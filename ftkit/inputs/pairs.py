"""Sources and targets to token ids in flat arrays: what an encoder reads, and what a decoder is to write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split
from ftkit.inputs.batching import pair_batch, pair_budget_batches
from ftkit.inputs.encoding import offsets_of, ranges, special_table
from ftkit.inputs.examples import Arrays, Rows, Targets
from ftkit.inputs.sides import Side, tokenize_side

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAIR_TOKENS = {"cpu": 4_096, "cuda": 32_768}
"""Tokens of sources and targets scored together, padding included; logits of a batch are never held whole."""


@dataclass(frozen=True)
class Pairs:
    """N sources of S tokens and their targets of T tokens, each end to end in a flat array.

    Attributes:
        source_ids: (S,), with the special tokens that the tokenizer adds.
        source_offsets: (N + 1,): source n is from source_offsets[n] up to source_offsets[n + 1].
        target_ids: (T,), with the special tokens that the tokenizer adds; a target that was cut has no end token.
        target_special: (T,): the token stands for no text; none of a target that was cut counts as text.
        text_bytes: (N,): UTF-8 bytes of each target's text, 0 where the target was cut.
        rows: (N,): the row of the split that each pair is.
        pad_id: fills the ends of padded sources; never looked at.
        packed: never: the two sides are padded each for itself.
    """

    source_ids: npt.NDArray[np.int32]
    source_offsets: npt.NDArray[np.int64]
    target_ids: npt.NDArray[np.int32]
    target_offsets: npt.NDArray[np.int64]
    target_special: npt.NDArray[np.bool_]
    text_bytes: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    pad_id: int = 0
    packed: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def scored_rows(self) -> Rows:
        """The row of the split that each pair, which is scored by itself, comes from (N,)."""
        return self.rows

    @property
    def source_lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each source (N,)."""
        return np.diff(self.source_offsets)

    @property
    def target_lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each target (N,)."""
        return np.diff(self.target_offsets)

    @property
    def lengths(self) -> Rows:
        """Tokens of each source and each target (N, 2)."""
        return np.stack([self.source_lengths, self.target_lengths], axis=1)

    def take(self, rows: Rows) -> Pairs:
        """Some of the pairs, in the order of `rows`."""
        sources, targets = self.source_lengths[rows], self.target_lengths[rows]
        source_index = ranges(self.source_offsets[rows], sources)
        target_index = ranges(self.target_offsets[rows], targets)
        return replace(
            self,
            source_ids=self.source_ids[source_index],
            source_offsets=offsets_of(sources),
            target_ids=self.target_ids[target_index],
            target_offsets=offsets_of(targets),
            target_special=self.target_special[target_index],
            text_bytes=self.text_bytes[rows],
            rows=self.rows[rows],
        )

    def arrays(self, rows: Rows) -> Arrays:
        """Sources (B, S) and labels (B, T)."""
        return pair_batch(self, rows, pad_id=self.pad_id)

    def targets(self, rows: Rows) -> Targets:
        """The tokens of some targets."""
        taken = self.take(rows)
        return Targets(np.repeat(rows, taken.target_lengths), taken.target_special)

    def cut(self, device: str) -> Iterator[Rows]:
        """Batches of like lengths."""
        return pair_budget_batches(self.source_lengths, self.target_lengths, max_tokens=pair_tokens(device))


def pair_tokens(device: str) -> int:
    """Tokens of sources and targets that are scored together on a kind of device."""
    return PAIR_TOKENS.get(device, PAIR_TOKENS["cuda"])


@dataclass(frozen=True)
class TokenizedPairs:
    """The pairs of a split, one for each row, in their order; and what became of its examples.

    Lengths (num_examples,) count special tokens, before anything was cut.
    """

    pairs: Pairs
    num_examples: int
    sources_cut: int
    targets_cut: int
    source_lengths: npt.NDArray[np.int64]
    target_lengths: npt.NDArray[np.int64]
    max_length: int
    max_target_length: int


def tokenize_pairs(
    tokenizer: PreTrainedTokenizerBase, split: Split, *, max_length: int, max_target_length: int
) -> TokenizedPairs:
    """Tokenize sources and targets, with the special tokens that the tokenizer adds to each.

    A source that is too long is cut as the tokenizer itself would cut it: the special tokens behind it stay. A target
    that is too long loses them, so that stopping in the middle of a sentence is not learnt. A tokenizer without a fast
    form does too; max_length is 4 or more, max_target_length 2 or more, special tokens included.

    Raises:
        UserError: the tokenizer sets no end token behind a target, so that a model could not learn to stop.
    """
    sources = tokenize_side(Side(tokenizer, targets=False), split, "prompt", max_length)
    targets = tokenize_side(Side(tokenizer, targets=True), split, "completion", max_target_length)
    cut = targets.lengths > max_target_length
    text_bytes = np.where(cut, 0, targets.num_bytes)
    pad: Any = tokenizer.pad_token_id
    pairs = Pairs(
        sources.ids,
        sources.offsets,
        targets.ids,
        targets.offsets,
        special_table(tokenizer)[targets.ids] | np.repeat(text_bytes == 0, np.diff(targets.offsets)),
        text_bytes,
        np.arange(len(split)),
        0 if pad is None else pad,
    )
    return TokenizedPairs(
        pairs,
        num_examples=len(split),
        sources_cut=int((sources.lengths > max_length).sum()),
        targets_cut=int(cut.sum()),
        source_lengths=sources.lengths,
        target_lengths=targets.lengths,
        max_length=max_length,
        max_target_length=max_target_length,
    )
