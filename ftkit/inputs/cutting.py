"""Documents of any length to sequences of a limited one, and what of them is learnt then: arithmetic on flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ftkit.inputs.encoding import Bools, Encoded, SpecialTokens, Words, offsets_of, ranges
from ftkit.inputs.sequences import Sequences
from ftkit.inputs.spans import MarkedRow
from ftkit.metrics.scores import Integers

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Framed:
    """D documents of T tokens (T,) in all, with the special tokens around them; offsets are (D + 1,)."""

    ids: Words
    num_bytes: Words
    learnt: Bools
    offsets: Integers
    special: SpecialTokens

    def learning_all(self) -> Framed:
        """The same with every token learnt but a document's first, which nothing predicts."""
        return replace(self, learnt=_all_but(self.offsets[:-1], len(self.ids)))


def frame_documents(parts: Sequence[tuple[Words, Words]], lengths: Integers, special: SpecialTokens) -> Framed:
    """Documents of so many tokens (D,) of which all is learnt; their ids and bytes come in consecutive parts."""
    offsets = offsets_of(lengths)
    ids, num_bytes = _joined([ids for ids, _ in parts], np.int32), _joined([found for _, found in parts], np.int32)
    return Framed(ids, num_bytes, _all_but(offsets[:-1], len(ids)), offsets, special)


def with_special_tokens(
    encoded: Encoded, *, first: Bools, last: Bools, special: SpecialTokens
) -> tuple[Words, Words, Integers]:
    """Set the begin and the end token around documents, unless they stand there already.

    Of N pieces those that are the first (N,) of a document get the begin token, where there is one, and those that are
    the last (N,) the end token. Ids and bytes of all pieces end to end come back, and the tokens of each piece (N,).
    """
    starts, lengths = encoded.offsets[:-1], np.diff(encoded.offsets)
    before = len(special.prefix) * (first & ~_starts_with(encoded.ids, starts, lengths, special.prefix))
    after = last.copy()
    filled = lengths > 0
    after[filled] &= encoded.ids[(starts + lengths - 1)[filled]] != special.eos
    framed_lengths = before + lengths + after
    begin = np.cumsum(framed_lengths) - framed_lengths
    # where nothing else is written there are end tokens
    ids = np.full(framed_lengths.sum(), special.eos, dtype=np.int32)
    num_bytes = np.zeros(len(ids), dtype=np.int32)
    for index, token in enumerate(special.prefix):
        ids[begin[before > 0] + index] = token
    target = ranges(begin + before, lengths)
    ids[target], num_bytes[target] = encoded.ids, encoded.num_bytes
    return ids, num_bytes, framed_lengths


def frame_rows(rows: Sequence[MarkedRow], special: SpecialTokens, *, begin: bool) -> Framed:
    """Lay rows end to end, each with the tokens that `begin` asks for before it unless they stand there already."""
    tokens = np.asarray(special.prefix if begin else (), dtype=np.int32)
    head = MarkedRow(tokens, np.zeros_like(tokens), np.zeros(len(tokens), dtype=bool))
    headed = [len(tokens) > 0 and not np.array_equal(row.ids[: len(tokens)], tokens) for row in rows]
    parts = [part for row, added in zip(rows, headed, strict=True) for part in ([head, row] if added else [row])]
    lengths = [len(row.ids) + len(tokens) * added for row, added in zip(rows, headed, strict=True)]
    offsets = offsets_of(np.asarray(lengths, dtype=np.int64))
    ids, num_bytes = _joined([part.ids for part in parts], np.int32), _joined([p.num_bytes for p in parts], np.int32)
    learnt = _joined([part.learnt for part in parts], np.bool_) & _all_but(offsets[:-1], len(ids))
    return Framed(ids, num_bytes, learnt, offsets, special)


def into_blocks(framed: Framed, max_length: int) -> Sequences:
    """All documents end to end, in blocks of max_length; nothing is left out.

    A last block of a single token would teach nothing, so the one before it gives it one of its own.
    """
    total = len(framed.ids)
    offsets = np.append(np.arange(0, total, max_length), total)
    if total > max_length and total % max_length == 1:
        offsets[-2] -= 1
    begins = ~_all_but(np.concatenate([framed.offsets[:-1], offsets[:-1]]), total)
    rows = np.searchsorted(framed.offsets, offsets[:-1], side="right") - 1
    return _sequences(framed, slice(None), begins, offsets, rows)


def into_pieces(framed: Framed, max_length: int) -> Sequences:
    """Each document by itself, in pieces of max_length; a last piece of one token takes a second from its neighbour."""
    lengths = np.diff(framed.offsets)
    rows, within = _pieces(np.maximum(1, -(-lengths // max_length)))
    starts = framed.offsets[rows] + within * max_length
    starts -= (within > 0) & (framed.offsets[rows + 1] - starts == 1)
    begins = ~_all_but(starts, len(framed.ids))
    offsets = np.append(starts, len(framed.ids))
    return _sequences(framed, slice(None), begins, offsets, rows)


def into_windows(framed: Framed, max_length: int, stride: int) -> Sequences:
    """Each document by itself, in windows of max_length that advance by `stride` tokens, 1 to max_length - 1.

    Every token but the first of a document is a target once: in the first window that holds it, where it has at least
    max_length - stride tokens before it, unless that is the document's first. Tokens that are there for context alone
    count no bytes.
    """
    lengths = np.diff(framed.offsets)
    rows, within = _pieces(1 + np.maximum(0, -(-(lengths - max_length) // stride)))
    starts = framed.offsets[rows] + within * stride
    counts = np.minimum(max_length, framed.offsets[rows + 1] - starts)
    cut = _chosen(framed, starts, counts, rows)
    context = ranges(cut.offsets[:-1], (max_length - stride) * (within > 0))
    cut.learnt[context], cut.num_bytes[context] = False, 0
    return cut


def cut_short(framed: Framed, max_length: int) -> Sequences:
    """The beginning of each document, max_length tokens of it at most."""
    counts = np.minimum(np.diff(framed.offsets), max_length)
    return _chosen(framed, framed.offsets[:-1], counts, np.arange(len(counts)))


def _chosen(framed: Framed, starts: Integers, counts: Integers, rows: Integers) -> Sequences:
    index, offsets = ranges(starts, counts), offsets_of(counts)
    return _sequences(framed, index, ~_all_but(offsets[:-1], len(index)), offsets, rows)


def _sequences(framed: Framed, index: Integers | slice, begins: Bools, offsets: Integers, rows: Integers) -> Sequences:
    ids, learnt = framed.ids[index], framed.learnt[index] & ~begins
    special = framed.special
    return Sequences(ids, learnt, begins, framed.num_bytes[index], special.table[ids], offsets, rows, special.pad)


def _pieces(counts: Integers) -> tuple[Integers, Integers]:
    """For each piece the document that it is of, and its number within that."""
    return np.repeat(np.arange(len(counts)), counts), ranges(np.zeros_like(counts), counts)


def _all_but(places: Integers, total: int) -> Bools:
    mask = np.ones(total, dtype=bool)
    mask[places[places < total]] = False
    return mask


def _starts_with(ids: Words, starts: Integers, lengths: Integers, prefix: Sequence[int]) -> Bools:
    found = lengths >= len(prefix)
    for index, token in enumerate(prefix):
        found[found] = ids[starts[found] + index] == token
    return found


def _joined(parts: Sequence[npt.NDArray[Number]], dtype: type[Number]) -> npt.NDArray[Number]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
