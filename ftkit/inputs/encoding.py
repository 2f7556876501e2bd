"""Many texts to token ids in flat arrays, with the place and the bytes of the text that each token stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.errors import UserError
from ftkit.interruption import STOP
from ftkit.metrics.scores import Integers
from ftkit.models.languages import language_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.int32]

_BATCH_TEXTS = 5_000
_BATCH_CHARACTERS = 1 << 20
_ANCHOR = "\n"


@dataclass(frozen=True)
class SpecialTokens:
    """What a tokenizer adds, and which of its tokens stand for no text.

    Attributes:
        prefix: ids that it sets before a text: its begin token, or none.
        pad: id that fills the ends of padded rows: the pad token's, or the end token's where there is none.
        table: (V,) bool: whether an id is a special token (begin, end, chat marks; the unknown token is none of them,
            since it stands for text).
        marks_beginnings: whether a text begins otherwise than it goes on: SentencePiece sets a space before the first
            word.
    """

    prefix: tuple[int, ...]
    eos: int
    pad: int
    table: Bools
    marks_beginnings: bool


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """Read them off a tokenizer.

    Raises:
        UserError: a tokenizer without an end token, or without offsets.
    """
    if not tokenizer.is_fast:
        raise UserError(f"{type(tokenizer).__name__} has no fast form", fix="use a checkpoint with a tokenizer.json")
    eos = tokenizer.eos_token_id
    if not isinstance(eos, int):
        raise UserError(
            "the tokenizer has no end token, so a model could not learn to stop",
            fix="name one as eos_token in its tokenizer_config.json",
        )
    bare, whole = token_ids(tokenizer, "a"), token_ids(tokenizer, "a", add_special_tokens=True)
    starts = (start for start in range(len(whole)) if whole[start : start + len(bare)] == bare)
    prefix = tuple(whole[: next(starts, 0)])
    joined = token_ids(tokenizer, f"{_ANCHOR}a")
    pad: Any = tokenizer.pad_token_id
    marks_beginnings = joined != token_ids(tokenizer, _ANCHOR) + bare
    return SpecialTokens(prefix, eos, eos if pad is None else pad, special_table(tokenizer), marks_beginnings)


def special_table(tokenizer: PreTrainedTokenizerBase) -> Bools:
    """Whether an id (V,) is a special token: as `SpecialTokens.table`."""
    marked = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    unknown = {tokenizer.unk_token_id} - {tokenizer.eos_token_id, tokenizer.bos_token_id}
    # M2M100 lists its languages in no place where special tokens are
    languages = language_ids(tokenizer).values()
    ids = ({*marked, *tokenizer.all_special_ids, *languages} - unknown) - {None}
    table = np.zeros(max(len(tokenizer), *(index + 1 for index in ids)), dtype=bool)
    table[list(ids)] = True
    return table


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str, *, add_special_tokens: bool = False) -> list[int]:
    """The ids of one text, without a warning when they are more than the model takes: they are cut afterwards."""
    ids: list[int] = tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    return ids


@dataclass(frozen=True)
class Encoded:
    """N texts as T tokens, without anything that a tokenizer adds.

    Attributes:
        num_bytes: (T,), UTF-8 bytes that a token stands for; over a text they add up to its own, but for those
            of special tokens that are spelt out in it, which count none.
        starts: (T,) the character of its text at which a token starts.
        ends: (T,) how many characters of its text it and the tokens before it reach.
        offsets: (N + 1,): the tokens of text n are those from offsets[n] up to offsets[n + 1].
    """

    ids: Words
    num_bytes: Words
    starts: Integers
    ends: Integers
    offsets: Integers

    def __len__(self) -> int:
        return len(self.offsets) - 1


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], special: SpecialTokens) -> Encoded:
    """Tokenize texts, a few megabytes of them (see `batches`), as they are, in one call."""
    STOP.poll()
    found: Any = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    counts = np.fromiter(map(len, found["input_ids"]), dtype=np.int64, count=len(texts))
    offsets = offsets_of(counts)
    total = int(offsets[-1])
    ids = np.fromiter(chain.from_iterable(found["input_ids"]), dtype=np.int32, count=total)
    flat = chain.from_iterable(chain.from_iterable(found["offset_mapping"]))
    places = np.fromiter(flat, dtype=np.int64, count=2 * total).reshape(total, 2)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    starts, ends = places[:, 0], places[:, 1]
    begin = np.repeat(np.cumsum(lengths) - lengths, counts)
    ends = _reach(ends + begin, offsets, np.cumsum(lengths))
    num_bytes = _bytes(ends, offsets, np.cumsum(lengths) - lengths, "".join(texts))
    num_bytes[special.table[ids]] = 0
    return Encoded(ids, num_bytes, starts, ends - begin, offsets)


def _reach(ends: Integers, offsets: Integers, text_ends: Integers) -> Integers:
    """The furthest character that each token and those before it cover, in the texts laid end to end.

    Some tokenizers leave a space out of every token's place, give all parts of a character the whole of it, or none
    to the last white space: what is left over belongs to the next token, and at the end of a text to its last.
    """
    filled = offsets[1:] > offsets[:-1]
    ends[offsets[1:][filled] - 1] = text_ends[filled]
    return np.maximum.accumulate(ends)


def _bytes(ends: Integers, offsets: Integers, text_starts: Integers, text: str) -> Words:
    """UTF-8 bytes between where each token's predecessor and itself end."""
    before = np.empty_like(ends)
    before[1:] = ends[:-1]
    filled = offsets[1:] > offsets[:-1]
    before[offsets[:-1][filled]] = text_starts[filled]
    if text.isascii():
        return (ends - before).astype(np.int32)
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    widths = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
    position = offsets_of(widths)
    return np.asarray(position[ends] - position[before], dtype=np.int32)


def encode_parts(
    tokenizer: PreTrainedTokenizerBase, parts: Sequence[str], begins: Bools, special: SpecialTokens
) -> Encoded:
    """Tokenize N parts of texts: one that begins (N,) no text gets none of what is put before the first word."""
    # such a part is tokenized behind a line break, whose tokens are dropped; where those reach into it, by itself
    anchored = ~begins & special.marks_beginnings
    while True:
        texts = [_ANCHOR + part if anchor else part for part, anchor in zip(parts, anchored.tolist(), strict=True)]
        encoded = encode(tokenizer, texts, special)
        owners = np.repeat(anchored, np.diff(encoded.offsets))
        astride = owners & (encoded.starts < len(_ANCHOR)) & (encoded.ends > len(_ANCHOR))
        if not astride.any():
            break
        anchored &= ~_any_of(astride, encoded.offsets)
    kept = ~(owners & (encoded.ends <= len(_ANCHOR)))
    offsets = offsets_of(kept)[encoded.offsets]
    shift = len(_ANCHOR) * owners[kept]
    return Encoded(
        encoded.ids[kept], encoded.num_bytes[kept], encoded.starts[kept] - shift, encoded.ends[kept] - shift, offsets
    )


def _any_of(marks: Bools, offsets: Integers) -> Bools:
    counted = offsets_of(marks)
    return np.asarray(counted[offsets[1:]] > counted[offsets[:-1]])


def batches(
    texts: Sequence[str], pairs: Sequence[str] | None = None, *, most_texts: int = _BATCH_TEXTS
) -> Iterator[slice]:
    """Cut a list of texts, or of pairs, into consecutive parts of a few megabytes, each of at least one text."""
    start, size = 0, 0
    for index, text in enumerate(texts):
        added = len(text) + (0 if pairs is None else len(pairs[index]))
        if index > start and (index - start == most_texts or size + added > _BATCH_CHARACTERS):
            yield slice(start, index)
            start, size = index, 0
        size += added
    if start < len(texts):
        yield slice(start, len(texts))


def offsets_of(lengths: Integers | Bools) -> Integers:
    """Where rows of so many tokens (N,) begin when they lie end to end, and where the last ends: (N + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def ranges(starts: Integers, counts: Integers) -> Integers:
    """The numbers from each start on, as many as its count, one range after the other.

    Example:
        >>> ranges(np.array([5, 0]), np.array([3, 2])).tolist()
        [5, 6, 7, 0, 1]
    """
    before = np.cumsum(counts) - counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(starts - before, counts), dtype=np.int64)
