"""Texts, or pairs of texts, to the tokens that an encoder reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ftkit.errors import UserError
from ftkit.inputs.batching import exact_length_batches, padded
from ftkit.inputs.encoding import batches, ranges
from ftkit.inputs.examples import Arrays, Rows
from ftkit.interruption import STOP
from ftkit.recipe.data_section import CUT, LongTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


TEXT_TOKENS = {"cpu": 4_096, "cuda": 65_536, "mps": 16_384}
"""Tokens that an encoder reads together: larger batches leave a CPU's caches, an accelerator wants them."""


TEXTS_AT_ONCE = 1_024
"""Texts at most that are tokenized by one call, which nothing can break off."""


def text_tokens(device: str) -> int:
    """Tokens that an encoder reads together on a kind of device."""
    return TEXT_TOKENS.get(device, TEXT_TOKENS["cpu"])


class Padding(NamedTuple):
    """How a tokenizer fills up shorter rows: with which ids, and on which side."""

    token: int = 0
    token_type: int = 0
    on_the_left: bool = False


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of N examples: R texts, or the windows of long ones, those of a text behind one another.

    Attributes:
        columns: what the model takes (`input_ids`, and `token_type_ids` where the tokenizer makes them), each a list
            of N lists of ids. The attention mask is left out.
        lengths: tokens of each example after truncation, (N,).
        num_truncated: texts that were longer than the limit.
        rows: the row of the split that each is, or is a window of (N,).
        labels: (N,); or (N, 2), with how many windows the row has.
        packed: never: an encoder reads each text by itself.
    """

    columns: dict[str, list[list[int]]]
    lengths: Rows
    num_truncated: int
    rows: Rows
    padding: Padding
    labels: Rows | None = None
    packed: bool = False

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def firsts(self) -> Rows:
        """The examples that are the first of their text (R,)."""
        return np.flatnonzero(np.diff(self.rows, prepend=-1))

    @property
    def counts(self) -> Rows:
        """Examples of each text (R,)."""
        return np.diff(self.firsts, append=len(self))

    @property
    def scored_rows(self) -> Rows:
        """The row of the split that each text is (R,)."""
        return self.rows[self.firsts]

    def counting_windows(self) -> TokenizedTexts:
        """The same with labels (N, 2): beside each how many windows its text has; as it is where each has one."""
        if self.labels is None or len(self.firsts) == len(self):
            return self
        return replace(self, labels=np.stack([self.labels, np.repeat(self.counts, self.counts)], axis=1))

    def take_texts(self, texts: Rows) -> TokenizedTexts:
        """Some of the texts, by their numbers of R, with all their windows."""
        return self.take(ranges(self.firsts[texts], self.counts[texts]))

    def take(self, rows: Rows) -> TokenizedTexts:
        """Some of the examples, in the order of `rows`."""
        return replace(
            self,
            columns={name: [values[row] for row in rows] for name, values in self.columns.items()},
            lengths=self.lengths[rows],
            rows=self.rows[rows],
            labels=None if self.labels is None else self.labels[rows],
        )

    def arrays(self, rows: Rows) -> Arrays:
        """The model inputs of some texts, each (B, T), with their attention mask; and labels (B,)."""
        lengths = self.lengths[rows]
        found: Arrays = {}
        fill = {"input_ids": self.padding.token, "token_type_ids": self.padding.token_type}
        for name, values in self.columns.items():
            ids = list(chain.from_iterable(values[row] for row in rows))
            found[name], mask = padded(ids, lengths, fill.get(name, 0), on_the_left=self.padding.on_the_left)
        found["attention_mask"] = mask
        return found if self.labels is None else found | {"labels": self.labels[rows]}

    def cut(self, device: str) -> Iterator[Rows]:
        """Batches of one length, which need no padding."""
        return exact_length_batches(self.lengths, max_tokens=text_tokens(device))


def tokenize_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    long_texts: LongTexts = CUT,
) -> TokenizedTexts:
    """Tokenize texts, or pairs of texts, for an encoder.

    At most max_length tokens are kept, special tokens included; of a pair, the longer text is cut first. Long texts
    are read otherwise where `long_texts` says so.

    Raises:
        UserError: pairs that are not to be cut, or windows that share as many tokens as they have.
    """
    if long_texts.kind != "cut":
        if pairs is not None:
            raise UserError(
                f"data.long_texts: {long_texts.kind} is for single texts: a window of a pair would leave out one of "
                "the two",
                fix="set data.long_texts: cut, which shortens the longer of the two, or raise data.max_length",
            )
        return _tokenize_whole(tokenizer, texts, max_length=max_length, long_texts=long_texts)
    columns: dict[str, list[list[int]]] = {"input_ids": []}
    num_truncated = 0
    for part in batches(texts, pairs, most_texts=TEXTS_AT_ONCE):
        call = _call(tokenizer, texts, pairs, part, truncation=True, max_length=max_length)
        if tokenizer.is_fast:
            # what was cut off is kept as overflowing pieces: gigabytes, were it not let go here
            num_truncated += sum(1 for encoding in call.encodings if encoding.overflowing)
        else:
            whole = _call(tokenizer, texts, pairs, part, verbose=False)
            num_truncated += sum(len(ids) > max_length for ids in whole["input_ids"])
        for name in (name for name in tokenizer.model_input_names if name in call):
            columns.setdefault(name, []).extend(call[name])
    lengths = np.fromiter(map(len, columns["input_ids"]), dtype=np.int64, count=len(texts))
    return TokenizedTexts(columns, lengths, num_truncated, np.arange(len(texts)), _padding(tokenizer))


def _call(tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, part: slice, **options: Any) -> Any:
    STOP.poll()
    second = None if pairs is None else list(pairs[part])
    return tokenizer(list(texts[part]), second, return_attention_mask=False, **options)


def _padding(tokenizer: Any) -> Padding:
    return Padding(tokenizer.pad_token_id or 0, tokenizer.pad_token_type_id, tokenizer.padding_side == "left")


class Frame(NamedTuple):
    """How many special tokens a tokenizer sets before a text, and behind it."""

    before: int
    behind: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Frame:
        """As it frames a letter."""
        found: Any = [tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True)]
        bare, whole = found
        starts = (start for start in range(len(whole)) if whole[start : start + len(bare)] == bare)
        before = next(starts, 0)
        return cls(before, len(whole) - len(bare) - before)


def _tokenize_whole(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_length: int, long_texts: LongTexts
) -> TokenizedTexts:
    """Nothing of a long text is lost, or its middle; the special tokens stand around each window."""
    frame = Frame.of(tokenizer)
    room = max_length - sum(frame)
    if long_texts.kind == "windows" and long_texts.stride >= room:
        raise UserError(
            f"data.window_stride is {long_texts.stride}, and a window of {max_length} tokens holds {room} of a text",
            fix=f"set data.window_stride to less, such as {room // 4}, or raise data.max_length",
        )
    columns: dict[str, list[list[int]]] = {"input_ids": []}
    counts, num_long = [], 0
    for part in batches(texts, most_texts=TEXTS_AT_ONCE):
        call = _call(tokenizer, texts, None, part, verbose=False)
        whole = call["input_ids"]
        cuts = [_cuts(len(ids), frame, room=room, long_texts=long_texts) for ids in whole]
        counts += [len(pieces) for pieces in cuts]
        num_long += sum(len(ids) > max_length for ids in whole)
        for name in (name for name in tokenizer.model_input_names if name in call):
            columns.setdefault(name, []).extend(
                list(chain.from_iterable(ids[start:stop] for start, stop in piece))
                for ids, pieces in zip(call[name], cuts, strict=True)
                for piece in pieces
            )
    lengths = np.fromiter(map(len, columns["input_ids"]), dtype=np.int64, count=sum(counts))
    rows = np.repeat(np.arange(len(texts)), np.array(counts, dtype=np.int64))
    return TokenizedTexts(columns, lengths, num_long, rows, _padding(tokenizer))


def _cuts(length: int, frame: Frame, *, room: int, long_texts: LongTexts) -> list[list[tuple[int, int]]]:
    """For each window of a text of so many tokens what of these it is made of, from here to there."""
    before, behind = frame
    inner = length - before - behind
    if inner <= room:
        return [[(0, length)]]
    parts = [(before + start, before + stop) for start, stop in long_texts.parts(inner, room=room)]
    around = [(0, before)], [(length - behind, length)]
    pieces = [[part] for part in parts] if long_texts.kind == "windows" else [parts]
    return [[*around[0], *piece, *around[1]] for piece in pieces]
