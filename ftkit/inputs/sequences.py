"""Sequences of tokens, each token with what training and scoring have to know of it: the examples of a decoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ftkit.data.audit import length_for_99_percent
from ftkit.inputs.batching import flat_batch, padded_batch, token_budget_batches
from ftkit.inputs.encoding import offsets_of, ranges
from ftkit.inputs.examples import Arrays, Rows, Targets

SEQUENCE_TOKENS = {"cpu": 2_048, "cuda": 16_384}
"""Tokens scored together; on a CPU more of them are no faster, and logits of a batch are never held whole."""


@dataclass(frozen=True)
class Sequences:
    """N sequences of tokens, T tokens in all, end to end in flat arrays.

    Attributes:
        learnt: (T,): the token is a target, predicted from those before it; never the first of a sequence or of
            a document.
        begins: (T,): a document begins here, or goes on in a new sequence: positions restart, attention does not
            look back past it. Every sequence starts with one.
        num_bytes: (T,): UTF-8 bytes of text that the token stands for, 0 for special tokens and for tokens that
            are there for context only; a document's add up to its own.
        special: (T,): end, begin and chat marks.
        offsets: (N + 1,): sequence n is from offsets[n] up to offsets[n + 1].
        rows: (N,): the row of the split that each sequence comes from; of a block, its first document's.
        pad_id: fills the ends of padded rows; never looked at.
        packed: whether those of a batch are laid end to end in one row.
    """

    ids: npt.NDArray[np.int32]
    learnt: npt.NDArray[np.bool_]
    begins: npt.NDArray[np.bool_]
    num_bytes: npt.NDArray[np.int32]
    special: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    pad_id: int = 0
    packed: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def scored_rows(self) -> Rows:
        """The row of the split that each sequence, which is scored by itself, comes from (N,)."""
        return self.rows

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each sequence (N,)."""
        return np.diff(self.offsets)

    @property
    def num_learnt(self) -> Rows:
        """Targets in each sequence (N,)."""
        # every sequence has a token, which reduceat relies on
        return np.add.reduceat(self.learnt, self.offsets[:-1], dtype=np.int64)

    @property
    def text_bytes(self) -> Rows:
        """UTF-8 bytes that the targets of each sequence stand for (N,)."""
        counted = np.where(self.learnt & ~self.special, self.num_bytes, 0).astype(np.int64)
        sums = offsets_of(counted)
        found: Rows = sums[self.offsets[1:]] - sums[self.offsets[:-1]]
        return found

    def take(self, rows: Rows) -> Sequences:
        """Some of the sequences, in the order of `rows`."""
        lengths = self.lengths[rows]
        index = ranges(self.offsets[rows], lengths)
        return replace(
            self,
            ids=self.ids[index],
            learnt=self.learnt[index],
            begins=self.begins[index],
            num_bytes=self.num_bytes[index],
            special=self.special[index],
            offsets=offsets_of(lengths),
            rows=self.rows[rows],
        )

    def arrays(self, rows: Rows) -> Arrays:
        """Model inputs and labels, (1, T) where packed, else (B, T)."""
        return flat_batch(self, rows) if self.packed else padded_batch(self, rows, pad_id=self.pad_id)

    def targets(self, rows: Rows) -> Targets:
        """The learnt tokens of some sequences."""
        taken = self.take(rows)
        return Targets(np.repeat(rows, taken.lengths)[taken.learnt], taken.special[taken.learnt])

    def cut(self, device: str) -> Iterator[Rows]:
        """Batches of like lengths."""
        return token_budget_batches(self.lengths, max_tokens=SEQUENCE_TOKENS.get(device, SEQUENCE_TOKENS["cuda"]))


@dataclass(frozen=True)
class Tokenized:
    """The sequences of a split, and what became of its examples.

    Attributes:
        num_truncated: examples whose end was cut off (documents never are: they are cut into pieces).
        num_unlearnt: examples left out since nothing to learn was left of them.
        num_merged_boundaries: examples whose prompt was tokenized by itself, since a token would have reached across
            its end.
        lengths: tokens of each document, completion or chat before anything was cut (num_examples,).
        num_open_turns: chats in which an answer before the last ends without a special token.
        num_answer_tokens: of chats, those that the assistant writes and is to learn.
        num_chats: of which the examples were made, where they are chats.
        num_unrolled: chats that became several examples, as in `ChatMarker`.
        num_joined: chats in which neighbours of one role were made one turn.
        num_repeated: tokens of the sequences that windows repeat, as context alone.
        parts: the same of each source, without its sequences; none where there is one.
    """

    sequences: Sequences
    lengths: npt.NDArray[np.int64]
    max_length: int
    num_truncated: int = 0
    num_unlearnt: int = 0
    num_merged_boundaries: int = 0
    num_open_turns: int = 0
    num_answer_tokens: int = 0
    num_chats: int = 0
    num_unrolled: int = 0
    num_joined: int = 0
    num_repeated: int = 0
    parts: tuple[Tokenized, ...] = ()

    @property
    def num_examples(self) -> int:
        """Rows of the split; of chats, examples that were made of them."""
        return len(self.lengths)

    def chat_warnings(self, name: str) -> list[str]:
        """What the chats of a split do not teach, one sentence each."""
        if self.parts:
            return [warning for part in self.parts for warning in part.chat_warnings(name)]
        if not self.num_open_turns:
            return []
        return [
            f"in {self.num_open_turns:,} of {self.num_chats:,} {name} chats an answer before the last has no end token,"
            " so stopping there is not learnt; let data.chat_template write eos_token after each"
        ]

    def chat_notes(self, name: str) -> list[str]:
        """What the chats of a split became, one sentence each."""
        if self.parts:
            return [note for part in self.parts for note in part.chat_notes(name)]
        found = []
        if self.num_unrolled:
            found.append(
                f"{self.num_unrolled:,} of {self.num_chats:,} {name} chats became several examples"
                f" ({self.num_examples:,} in all, {self.num_examples / self.num_chats:.2f} a chat): the chat template"
                " writes earlier answers otherwise than the model is to write them"
            )
        if self.num_joined:
            found.append(
                f"in {self.num_joined:,} of {self.num_chats:,} {name} chats neighbouring turns of one role were made"
                " one: the chat template refuses them"
            )
        return found

    @property
    def num_tokens(self) -> int:
        """Tokens of the sequences; those that windows repeat as context count once."""
        return len(self.sequences.ids) - self.num_repeated

    @property
    def length_for_99_percent(self) -> int:
        """The smallest max_length that would cut less than 1 % of the examples."""
        return length_for_99_percent(np.sort(self.lengths)) if len(self.lengths) else 0
