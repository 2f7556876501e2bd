"""Splits of documents, completions and chats to sequences of tokens: to train on, and to score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ftkit.data.chat.marking import ChatMarker, Marked
from ftkit.data.chat.turns import Chat
from ftkit.data.dataset import Split
from ftkit.data.prompting import Prompting
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError
from ftkit.inputs import cutting
from ftkit.inputs.cutting import Framed
from ftkit.inputs.encoding import SpecialTokens, batches, encode_parts, special_tokens
from ftkit.inputs.long_texts import Cutter
from ftkit.inputs.sequences import Sequences, Tokenized
from ftkit.inputs.spans import MarkedRow, encode_marked

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def training_sequences(
    tokenizer: PreTrainedTokenizerBase, split: Split, prompting: Prompting, *, max_length: int, packing: bool
) -> Tokenized:
    """Sequences to train on.

    Texts: every document, with its end token, is cut into pieces of max_length; with packing all of them are laid end
    to end and cut into blocks of max_length. A document that goes on in another sequence begins there anew, so the
    first token there is not learnt. Completions and chats: one sequence for each, its end cut off; packing leaves them
    alone, since `flat_batch` lays them end to end. max_length is 2 or more, the tokenizer a fast one.

    Raises:
        UserError: a tokenizer without an end token or chat template, or a chat that the template refuses.
    """
    special = special_tokens(tokenizer)
    if prompting.kind != "text":
        return _examples(tokenizer, split, prompting, special, max_length)
    framed = _documents(tokenizer, split, special)
    cut = cutting.into_blocks(framed, max_length) if packing else cutting.into_pieces(framed, max_length)
    return Tokenized(_teaching(cut), np.diff(framed.offsets), max_length)


def evaluation_sequences(
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    prompting: Prompting,
    *,
    max_length: int,
    stride: int | None = None,
) -> Tokenized:
    """Sequences to score, the same whatever training does.

    Texts: each document by itself, in windows of max_length that advance by `stride` tokens, so that every token but a
    document's first is scored exactly once; without one by max_length - 1, so that a window begins with the last token
    of the one before. Completions and chats: as in training, whatever the stride.
    """
    special = special_tokens(tokenizer)
    if prompting.kind != "text":
        return _examples(tokenizer, split, prompting, special, max_length)
    framed = _documents(tokenizer, split, special)
    cut = cutting.into_windows(framed, max_length, max_length - 1 if stride is None else stride)
    repeated = len(cut.ids) - len(framed.ids)
    return Tokenized(_teaching(cut), np.diff(framed.offsets), max_length, num_repeated=repeated)


def _teaching(sequences: Sequences) -> Sequences:
    teaches = sequences.num_learnt > 0
    return sequences if teaches.all() else sequences.take(np.flatnonzero(teaches))


def _documents(tokenizer: PreTrainedTokenizerBase, split: Split, special: SpecialTokens) -> Framed:
    cutter = Cutter(tokenizer, special)
    parts, lengths = [], []
    for (texts,) in split.columns("text"):
        pieces = [cutter.cut(text) for text in texts]
        flat = [piece for text in pieces for piece in text]
        owners = np.repeat(np.arange(len(texts)), [len(text) for text in pieces])
        first, last = np.diff(owners, prepend=-1) > 0, np.diff(owners, append=len(texts)) > 0
        counted = np.zeros(len(texts))
        for part in batches(flat):
            encoded = encode_parts(tokenizer, flat[part], first[part], special)
            ids, num_bytes, counts = cutting.with_special_tokens(
                encoded, first=first[part], last=last[part], special=special
            )
            parts.append((ids, num_bytes))
            counted += np.bincount(owners[part], weights=counts, minlength=len(texts))
        lengths.append(counted.astype(np.int64))
    return cutting.frame_documents(parts, np.concatenate(lengths), special)


def _examples(
    tokenizer: PreTrainedTokenizerBase, split: Split, prompting: Prompting, special: SpecialTokens, max_length: int
) -> Tokenized:
    """One sequence for each completion, and one or more for each chat."""
    rows: list[MarkedRow] = []
    num_merged = 0
    counts: list[int] = []
    marker = ChatMarker(tokenizer, prompting) if prompting.kind == "chat" else None
    marked = _completions(split) if marker is None else _chats(marker, split)
    for batch in marked:
        found, merged = encode_marked(tokenizer, [text for texts in batch for text in texts], special)
        counts += [len(texts) for texts in batch]
        rows += found
        num_merged += merged
    # a chat template writes a begin token by itself where the model wants one
    framed = cutting.frame_rows(rows, special, begin=prompting.kind == "completion")
    cut = cutting.cut_short(framed, max_length)
    answers = 0 if marker is None else int(cut.learnt.sum())
    if not prompting.completion_only_loss:
        cut = cutting.cut_short(framed.learning_all(), max_length)
    owned = replace(cut, rows=np.repeat(np.arange(len(counts)), counts)[cut.rows])
    sequences, lengths = _teaching(owned), np.diff(framed.offsets)
    return Tokenized(
        sequences,
        lengths,
        max_length,
        num_truncated=int((lengths > max_length).sum()),
        num_unlearnt=len(rows) - len(sequences),
        num_merged_boundaries=num_merged,
        num_answer_tokens=answers,
        num_chats=0 if marker is None else len(split),
        num_open_turns=0 if marker is None else marker.num_open_turns,
        num_unrolled=0 if marker is None else marker.num_unrolled,
        num_joined=0 if marker is None else marker.renderer.num_joined,
    )


def _completions(split: Split) -> Iterator[list[list[Marked]]]:
    for prompts, completions in split.columns("prompt", "completion"):
        yield [
            [Marked(prompt + completion, ((len(prompt), len(prompt) + len(completion)),))]
            for prompt, completion in zip(prompts, completions, strict=True)
        ]


def _chats(marker: ChatMarker, split: Split) -> Iterator[list[list[Marked]]]:
    number = 0
    for (texts,) in split.columns("messages"):
        marked = []
        for text in texts:
            number += 1
            try:
                marked.append(marker.mark(Chat.from_json(text)))
            except Unusable as error:
                where = f"{split.source}: {split.name} chat {number}"
                raise UserError(error.reason, where=where, fix=error.fix) from error
        yield marked
