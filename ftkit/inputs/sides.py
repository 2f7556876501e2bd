"""One side of a pair, all sources or all targets, to token ids that are no more than a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.data.dataset import Split
from ftkit.errors import UserError
from ftkit.inputs.encoding import SpecialTokens, Words, batches, encode_parts, offsets_of, ranges, special_tokens
from ftkit.inputs.long_texts import PIECE_CHARACTERS, Cutter
from ftkit.interruption import STOP
from ftkit.metrics.scores import Integers
from ftkit.models.languages import language_ids, marks_languages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONG_TEXT = 2 * PIECE_CHARACTERS
"""Characters of a text that is tokenized in pieces."""
LONGEST_PIECE = 1 << 20
"""A piece in which no safe place is found is cut nevertheless, into parts of so many characters: what a tokenizer holds
for ten million of them is gigabytes. That can change tokens beside the cut, far behind all that a model reads, and so
the count of tokens before cutting."""


@dataclass(frozen=True)
class SideTokens:
    """N texts: their ids (T,) and offsets (N + 1,) after cutting; tokens and UTF-8 bytes of each whole text (N,)."""

    ids: Words
    offsets: Integers
    lengths: Integers
    num_bytes: Integers


class Side:
    """What a tokenizer makes of sources, or of targets: some set other special tokens before and behind those.

    Raises:
        UserError: no end token behind a target.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, targets: bool) -> None:
        self.tokenizer = tokenizer
        self.targets = targets
        self.marks_languages = marks_languages(tokenizer)
        bare, whole = (self._call(["a"], add_special_tokens=added)[0] for added in (False, True))
        starts = (start for start in range(len(whole)) if whole[start : start + len(bare)] == bare)
        start = next(starts, 0)
        self.before = np.array(whole[:start], dtype=np.int32)
        self.behind = np.array(whole[start + len(bare) :], dtype=np.int32)
        if targets and (tokenizer.eos_token_id is None or tokenizer.eos_token_id not in self.behind):
            raise UserError(
                f"{type(tokenizer).__name__} sets no end token behind a target, so a model could not learn to stop",
                fix="use a checkpoint whose tokenizer does, as those of T5 and BART do",
            )

    def encode(self, texts: Sequence[str]) -> tuple[Words, Integers]:
        """Ids of texts end to end, special tokens included, and the number of each text's."""
        if not self.tokenizer.is_fast or max(map(len, texts)) <= LONG_TEXT:
            return _flat(self._call(texts))
        parts = [_flat(self._call([text])) if len(text) <= LONG_TEXT else self._encode_long(text) for text in texts]
        return np.concatenate([ids for ids, _ in parts]), np.concatenate([counts for _, counts in parts])

    def cut(self, ids: Words, counts: Integers, limit: int) -> tuple[Words, Integers]:
        """The same with at most `limit` tokens of each text.

        Of a source the special tokens stay, as the tokenizer's own truncation has it. A target loses those behind it,
        unless the tokenizer marks languages: mBART's decoder begins with what ends its target.
        """
        starts, too_long = np.cumsum(counts) - counts, counts > limit
        if self.targets and not self.marks_languages:
            kept = np.where(too_long, np.minimum(counts - len(self.behind), limit), counts)
            return ids[ranges(starts, kept)], kept
        kept = np.minimum(counts, limit)
        if self.tokenizer.truncation_side == "left" and not self.targets:
            starts = starts + counts - kept
        cut = ids[ranges(starts, kept)]
        ends = np.cumsum(kept)[too_long]
        for index, token in enumerate(self.before):
            cut[ends - limit + index] = token
        for index, token in enumerate(self.behind):
            cut[ends - len(self.behind) + index] = token
        return cut, kept

    def mark(self, ids: Words, offsets: Integers, languages: Sequence[str]) -> None:
        """Set the language of each of N texts, in place, where the tokenizer's own was set for all."""
        given: Any = self.tokenizer
        known = language_ids(given)
        own = known[given.tgt_lang if self.targets else given.src_lang]
        wanted = np.array([known[code] for code in languages], dtype=np.int32)
        for place in np.flatnonzero(self.before == own):
            ids[offsets[:-1] + place] = wanted
        for place in np.flatnonzero(self.behind == own):
            ids[offsets[1:] - len(self.behind) + place] = wanted

    def _call(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        STOP.poll()
        given: dict[str, Any] = {"text_target" if self.targets else "text": list(texts)}
        found: Any = self.tokenizer(
            **given,
            add_special_tokens=add_special_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = found["input_ids"]
        return ids

    def _encode_long(self, text: str) -> tuple[Words, Integers]:
        pieces = [
            piece[start : start + LONGEST_PIECE]
            for piece in self._cutter.cut(text)
            for start in range(0, len(piece), LONGEST_PIECE)
        ]
        first = np.arange(len(pieces)) == 0
        parts = [encode_parts(self.tokenizer, pieces[part], first[part], self._special).ids for part in batches(pieces)]
        ids = np.concatenate([self.before, *parts, self.behind])
        return ids, np.array([len(ids)])

    @cached_property
    def _special(self) -> SpecialTokens:
        return special_tokens(self.tokenizer)

    @cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self.tokenizer, self._special)


def tokenize_side(side: Side, split: Split, column: str, limit: int) -> SideTokens:
    """Tokenize a column, a few megabytes of text at a time; `limit` tokens of each, special ones included, are kept."""
    ids, kept, lengths, num_bytes = [], [], [], []
    for texts in (many[part] for (many,) in split.columns(column) for part in batches(many)):
        found, counts = side.encode(texts)
        cut, cut_counts = side.cut(found, counts, limit)
        ids.append(cut)
        kept.append(cut_counts)
        lengths.append(counts)
        num_bytes.append(np.array([len(text) if text.isascii() else len(text.encode()) for text in texts]))
    whole, offsets = np.concatenate(ids), offsets_of(np.concatenate(kept))
    if side.marks_languages and (languages := split.languages(targets=side.targets)) is not None:
        side.mark(whole, offsets, languages)
    return SideTokens(whole, offsets, np.concatenate(lengths), np.concatenate(num_bytes))


def _flat(rows: Sequence[Sequence[int]]) -> tuple[Words, Integers]:
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(counts.sum())), counts
