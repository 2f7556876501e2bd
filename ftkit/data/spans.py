"""Texts of which parts are learnt, to tokens: completions behind their prompts, answers within chats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ftkit.data.encoding import Encoded, SpecialTokens, batches, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ANCHOR = "\n"


@dataclass(frozen=True)
class Marked:
    """A text and which parts of it are learnt.

    Attributes:
        text: the whole.
        spans: (first character, character behind the last) of each part, in order, apart from one another, none
            empty.
        open_end: whether the text ends with the last span, and with the end token behind it.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    open_end: bool = True


@dataclass(frozen=True)
class Row:
    """The tokens of one such text: ids and bytes (int32) and whether each is learnt, all (T,)."""

    ids: npt.NDArray[np.int32]
    num_bytes: npt.NDArray[np.int32]
    learnt: npt.NDArray[np.bool_]


def encode_marked(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Marked], special: SpecialTokens
) -> tuple[list[Row], int]:
    """Tokenize texts so that what comes before a span has the tokens that it has alone, as a prompt.

    A text is tokenized as a whole where a token begins with each span. Where one reaches across its beginning (a
    prompt that ends in a space, and a word), the parts are tokenized one by one instead.

    Returns:
        A row for each text, and how many were tokenized in parts.
    """
    rows: list[Row] = []
    num_parted = 0
    for part in batches([marked.text for marked in texts]):
        chosen = texts[part]
        encoded = encode(tokenizer, [marked.text for marked in chosen], special)
        pieces = [
            slice(*pair) for pair in zip(encoded.offsets[:-1].tolist(), encoded.offsets[1:].tolist(), strict=True)
        ]
        whole = [_is_whole(encoded, piece, marked) for piece, marked in zip(pieces, chosen, strict=True)]
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


def _row(encoded: Encoded, piece: slice, marked: Marked) -> Row:
    ends = encoded.ends[piece]
    last = ends - 1
    # the second half of a character covers nothing new: it goes with the first
    first = np.minimum(np.concatenate([[0], ends[:-1]]), last)
    learnt = np.zeros(len(ends), dtype=bool)
    for start, stop in marked.spans:
        learnt |= (last >= start) & (first < stop)
    return Row(encoded.ids[piece], encoded.num_bytes[piece], learnt)


def _in_parts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Marked], special: SpecialTokens) -> list[Row]:
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
    first_ones = np.zeros(len(parts), dtype=bool)
    first_ones[np.cumsum(counts) - counts] = True
    pieces = _encode_parts(tokenizer, [text for text, _ in parts], first_ones, special)
    rows = []
    for end, count in zip(np.cumsum(counts).tolist(), counts, strict=True):
        chosen = range(end - count, end)
        learnt = [np.full(len(pieces[index].ids), parts[index][1]) for index in chosen]
        rows.append(
            Row(
                np.concatenate([pieces[index].ids for index in chosen]),
                np.concatenate([pieces[index].num_bytes for index in chosen]),
                np.concatenate(learnt),
            )
        )
    return rows


def _encode_parts(
    tokenizer: PreTrainedTokenizerBase, parts: Sequence[str], begins: npt.NDArray[np.bool_], special: SpecialTokens
) -> list[Row]:
    """Tokens of each part; one that begins no text gets none of what a tokenizer puts at the beginning of a text."""
    needed = _marks_beginnings(tokenizer)
    anchored = [_ANCHOR if needed and not begin else "" for begin in begins.tolist()]
    encoded = encode(tokenizer, [anchor + part for anchor, part in zip(anchored, parts, strict=True)], special)
    rows = []
    for index, (part, anchor) in enumerate(zip(parts, anchored, strict=True)):
        piece = slice(int(encoded.offsets[index]), int(encoded.offsets[index + 1]))
        row = _row(encoded, piece, Marked(anchor + part, ()))
        if anchor and _is_whole(encoded, piece, Marked(anchor + part, ((len(anchor), len(anchor + part)),))):
            behind = int(np.searchsorted(encoded.ends[piece], len(anchor), side="right"))
            row = Row(row.ids[behind:], row.num_bytes[behind:], row.learnt[behind:])
        elif anchor:
            alone = encode(tokenizer, [part], special)
            row = _row(alone, slice(None), Marked(part, ()))
        rows.append(row)
    return rows


def _marks_beginnings(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text begins otherwise than it goes on: SentencePiece sets a space before the first word."""
    joined, anchor, word = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in (f"{_ANCHOR}a", _ANCHOR, "a")
    )
    return bool(joined != anchor + word)


def _ended(row: Row, special: SpecialTokens) -> Row:
    """The row up to its last learnt token, and the end token, which may stand there already."""
    learnt = np.flatnonzero(row.learnt)
    if not len(learnt) or row.ids[learnt[-1]] == special.eos:
        return row
    stop = int(learnt[-1]) + 1
    return Row(
        np.append(row.ids[:stop], np.int32(special.eos)),
        np.append(row.num_bytes[:stop], np.int32(0)),
        np.append(row.learnt[:stop], True),
    )
