"""Texts in, token ids out: one pure function per task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of N examples, unpadded.

    Attributes:
        columns: what the model takes (`input_ids`, and `token_type_ids` where the tokenizer makes them), each a list
            of N lists of ids. The attention mask is all ones and left out.
        lengths: tokens of each example after truncation, (N,).
        num_truncated: examples that were longer than the limit.
    """

    columns: dict[str, list[list[int]]]
    lengths: npt.NDArray[np.int64]
    num_truncated: int

    def stack(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
        """The model inputs of rows that share one length, each (B, T), with their attention mask."""
        inputs = {
            name: np.array([values[row] for row in rows], dtype=np.int64) for name, values in self.columns.items()
        }
        return inputs | {"attention_mask": np.ones_like(inputs["input_ids"])}


def tokenize_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
) -> TokenizedTexts:
    """Tokenize texts, or pairs of texts, for an encoder.

    Args:
        tokenizer: a fast tokenizer.
        texts: N texts.
        pairs: N second texts, or None.
        max_length: tokens kept, special tokens included; of a pair, the longer text is cut first.
    """
    encoded: Any = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
    )
    columns = {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}
    lengths = np.fromiter((len(ids) for ids in columns["input_ids"]), dtype=np.int64, count=len(texts))
    # a fast tokenizer keeps what it cut off as overflowing pieces
    num_truncated = sum(1 for encoding in encoded.encodings if encoding.overflowing)
    return TokenizedTexts(columns, lengths, num_truncated)
