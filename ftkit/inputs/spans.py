"""Texts of which parts are learnt, to tokens: completions behind their prompts, answers within chats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.data.chat.marking import Marked
from ftkit.inputs.encoding import Bools, Encoded, SpecialTokens, Words, batches, encode, encode_parts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_WINDOW = 32


@dataclass(frozen=True)
class MarkedRow:
    """The tokens of one such text: ids and bytes (int32) and whether each is learnt, all (T,)."""

    ids: Words
    num_bytes: Words
    learnt: Bools


def encode_marked(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Marked], special: SpecialTokens
) -> tuple[list[MarkedRow], int]:
    """Tokenize texts so that what comes before a span has the tokens that it has alone, as a prompt.

    A text is tokenized as a whole where a token begins with each span. Where one reaches across its beginning (a
    prompt that ends in a space, and a word), the parts are tokenized one by one instead.

    Returns:
        A row for each text, and how many were tokenized in parts.
    """
    rows: list[MarkedRow] = []
    num_parted = 0
    for part in batches([marked.text for marked in texts]):
        chosen = texts[part]
        encoded = encode(tokenizer, [marked.text for marked in chosen], special)
        pieces = [
            slice(*pair) for pair in zip(encoded.offsets[:-1].tolist(), encoded.offsets[1:].tolist(), strict=True)
        ]
        whole = [
            _is_whole(encoded, piece, marked) and _keeps_characters(tokenizer, marked)
            for piece, marked in zip(pieces, chosen, strict=True)
        ]
        parted = iter(_in_parts(tokenizer, [m for m, ok in zip(chosen, whole, strict=True) if not ok], special))
        num_parted += whole.count(False)
        for marked, piece, ok in zip(chosen, pieces, whole, strict=True):
            row = _row(encoded, piece, marked) if ok else next(parted)
            rows.append(_ended(row, special) if marked.open_end else row)
    return rows, num_parted


def _is_whole(encoded: Encoded, piece: slice, marked: Marked) -> bool:
    starts, ends = encoded.starts[piece], encoded.ends[piece]
    for first, _ in marked.spans:
        behind = int(np.searchsorted(ends, first, side="right"))
        # the characters before are covered to the last, and no token that covers some of them reaches further
        if first and (behind == 0 or ends[behind - 1] != first or (behind < len(starts) and starts[behind] < first)):
            return False
    return True


def _keeps_characters(tokenizer: PreTrainedTokenizerBase, marked: Marked) -> bool:
    """Whether no span begins with an accent that the tokenizer's normalizer would set upon the character before it."""
    normalizer: Any = tokenizer.backend_tokenizer.normalizer
    if normalizer is None:
        return True
    for first, _ in marked.spans:
        before, after = marked.text[max(0, first - _WINDOW) : first], marked.text[first : first + _WINDOW]
        if not normalizer.normalize_str(before + after).startswith(normalizer.normalize_str(before)):
            return False
    return True


def _row(encoded: Encoded, piece: slice, marked: Marked) -> MarkedRow:
    ends = encoded.ends[piece]
    last = ends - 1
    # the second half of a character covers nothing new: it goes with the first
    first = np.minimum(np.concatenate([[0], ends[:-1]]), last)
    learnt = np.zeros(len(ends), dtype=bool)
    for start, stop in marked.spans:
        learnt |= (last >= start) & (first < stop)
    return MarkedRow(encoded.ids[piece], encoded.num_bytes[piece], learnt)


def _in_parts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Marked], special: SpecialTokens) -> list[MarkedRow]:
    if not texts:
        return []
    parts: list[tuple[str, bool]] = []
    counts = []
    for marked in texts:
        before = len(parts)
        position = 0
        for start, stop in marked.spans:
            parts += [(marked.text[position:start], False), (marked.text[start:stop], True)]
            position = stop
        parts.append((marked.text[position:], False))
        counts.append(len(parts) - before)
    begins = np.zeros(len(parts), dtype=bool)
    begins[np.cumsum(counts) - counts] = True
    rows = []
    encoded = encode_parts(tokenizer, [text for text, _ in parts], begins, special)
    learnt = np.repeat([learnt for _, learnt in parts], np.diff(encoded.offsets))
    for end, count in zip(np.cumsum(counts).tolist(), counts, strict=True):
        piece = slice(int(encoded.offsets[end - count]), int(encoded.offsets[end]))
        rows.append(MarkedRow(encoded.ids[piece], encoded.num_bytes[piece], learnt[piece]))
    return rows


def _ended(row: MarkedRow, special: SpecialTokens) -> MarkedRow:
    """The row up to its last learnt token, and the end token, which may stand there already."""
    learnt = np.flatnonzero(row.learnt)
    if not len(learnt) or row.ids[learnt[-1]] == special.eos:
        return row
    stop = int(learnt[-1]) + 1
    return MarkedRow(
        np.append(row.ids[:stop], np.int32(special.eos)),
        np.append(row.num_bytes[:stop], np.int32(0)),
        np.append(row.learnt[:stop], True),
    )
