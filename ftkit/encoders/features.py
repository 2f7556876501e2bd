"""Splits in, stored encoder outputs out; the encoder is loaded only when some split has not been through it yet."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from ftkit.data.dataset import Split
from ftkit.encoders.store import Chunk, FeatureKey, Features, encode, stored
from ftkit.inputs.batching import chunks
from ftkit.inputs.text import tokenize_texts
from ftkit.models.causal import open_tokenizer
from ftkit.models.checkpoint import Checkpoint, Pooling
from ftkit.models.placement import Placement
from ftkit.models.trial import code_failures_told, tensors
from ftkit.progress import Reporter
from ftkit.recipe.data_section import CUT, LongTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHUNK_ROWS = 16_384
"""Rows tokenized and sorted together: enough to fill batches of one length, few enough to stay small."""


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder that is loaded on first use.

    Attributes:
        checkpoint: its files.
        pooling: what is kept of its outputs.
        max_length: tokens kept of each example.
        long_texts: how longer ones are read.
        placement: device and precision.
        load: makes the module (eval mode, on the device, in the precision).
        trust_remote_code: as the recipe says.
    """

    checkpoint: Checkpoint
    pooling: Pooling
    max_length: int
    placement: Placement
    load: Callable[[], nn.Module]
    long_texts: LongTexts = CUT
    trust_remote_code: bool = False

    @cached_property
    def module(self) -> nn.Module:
        """The encoder itself."""
        return self.load()

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's tokenizer."""
        return open_tokenizer(self.checkpoint, trust_remote_code=self.trust_remote_code)

    def key(self, split: Split) -> FeatureKey:
        """What the features of a split depend on."""
        return FeatureKey(
            weights=self.checkpoint.weights_hash,
            processor=self.checkpoint.tokenizer_hash,
            inputs=split.inputs_hash,
            max_length=self.max_length,
            tokens=self.pooling.tokens,
            normalize=self.pooling.normalize,
            dtype=str(self.placement.dtype).removeprefix("torch."),
            device=self.placement.device.type,
            versions=f"torch {torch.__version__}, transformers {importlib.metadata.version('transformers')}",
            long_texts=self.long_texts.in_words,
        )


def split_features(encoder: Encoder, split: Split, *, reporter: Reporter) -> Features:
    """The encoder's outputs over a split: read back when they are stored, else computed and stored."""
    key = encoder.key(split)
    if (found := stored(key)) is not None:
        return found
    with code_failures_told(encoder.module, name=encoder.checkpoint.name, doing="run over texts"):
        width = _width(encoder, split)
    with reporter.track(f"encoding {split.name}", total=len(split)) as advance:
        return encode(
            encoder.module,
            text_chunks(encoder.tokenizer, split, max_length=encoder.max_length, long_texts=encoder.long_texts),
            key=key,
            pooling=encoder.pooling,
            width=width,
            device=encoder.placement.device,
            advance=advance,
        )


def _width(encoder: Encoder, split: Split) -> int:
    """D, as the first rows of a split show it."""
    pairs = split.text_pairs[:2] if split.text_pairs is not None else None
    tokens = tokenize_texts(encoder.tokenizer, split.texts[:2], pairs, max_length=encoder.max_length)
    with torch.inference_mode():
        return int(encoder.module(**tensors(encoder.module, tokens.arrays(tokens.rows))).last_hidden_state.shape[-1])


def text_chunks(
    tokenizer: PreTrainedTokenizerBase, split: Split, *, max_length: int, long_texts: LongTexts
) -> Iterator[Chunk]:
    """Tokenize a split chunk by chunk."""
    for rows in chunks(len(split), size=CHUNK_ROWS):
        part = split.with_table(split.table.slice(rows.start, rows.stop - rows.start))
        tokens = tokenize_texts(tokenizer, part.texts, part.text_pairs, max_length=max_length, long_texts=long_texts)
        yield Chunk(tokens, tokens.num_truncated)
