"""Texts, or pairs of texts, to the tokens that an encoder reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ftkit.inputs.batching import chunks, exact_length_batches, padded
from ftkit.inputs.examples import Arrays, Rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


TEXT_TOKENS = {"cpu": 4_096, "cuda": 65_536, "mps": 16_384}
"""Tokens that an encoder reads together: larger batches leave a CPU's caches, an accelerator wants them."""


TEXTS_AT_ONCE = 1_024
"""Texts that are tokenized by one call, which nothing can break off."""


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
    """Token ids of N examples.

    Attributes:
        columns: what the model takes (`input_ids`, and `token_type_ids` where the tokenizer makes them), each a list
            of N lists of ids. The attention mask is left out.
        lengths: tokens of each example after truncation, (N,).
        num_truncated: examples that were longer than the limit.
        rows: the row of the split that each is (N,).
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

    def take(self, rows: Rows) -> TokenizedTexts:
        """Some of the texts, in the order of `rows`."""
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
) -> TokenizedTexts:
    """Tokenize texts, or pairs of texts, for an encoder.

    At most max_length tokens are kept, special tokens included; of a pair, the longer text is cut first.
    """
    calls: list[Any] = [
        tokenizer(
            list(texts[part]),
            None if pairs is None else list(pairs[part]),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
        )
        for part in (*chunks(len(texts), size=TEXTS_AT_ONCE), *([] if texts else [slice(0)]))
    ]
    names = [name for name in tokenizer.model_input_names if name in calls[0]]
    columns = {name: [ids for call in calls for ids in call[name]] for name in names}
    lengths = np.fromiter((len(ids) for ids in columns["input_ids"]), dtype=np.int64, count=len(texts))
    if tokenizer.is_fast:
        # what was cut off is kept as overflowing pieces
        num_truncated = sum(1 for call in calls for encoding in call.encodings if encoding.overflowing)
    else:
        whole: Any = tokenizer(list(texts), None if pairs is None else list(pairs), verbose=False) if texts else {}
        num_truncated = sum(len(ids) > max_length for ids in whole.get("input_ids", ()))
    known: Any = tokenizer
    padding = Padding(known.pad_token_id or 0, known.pad_token_type_id, known.padding_side == "left")
    return TokenizedTexts(columns, lengths, num_truncated, np.arange(len(texts)), padding)
