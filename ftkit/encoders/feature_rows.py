"""Stored features and their labels, read whole or block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

ROWS_IN_MEMORY_BYTES = 256 * 2**20
"""Stored features up to this size are read whole; larger ones block by block."""

BLOCK_ROWS = 32_768
"""Rows read together from features that do not fit."""


@dataclass(frozen=True)
class FeatureRows:
    """Features (N, D), possibly memory-mapped, and their labels (N,)."""

    vectors: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> FeatureRows:
        """Some of the rows, in memory."""
        return FeatureRows(np.array(self.vectors[rows]), self.labels[rows])

    def blocks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The rows in order, in blocks of (n, D) float32 and (n,)."""
        for start in range(0, len(self), BLOCK_ROWS):
            yield self._read(slice(start, start + BLOCK_ROWS))

    def batches(self, batch_size: int, generator: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The rows once, shuffled, in batches of (B, D) float32 and (B,).

        Features that fit in memory are shuffled as a whole; larger ones are read in shuffled blocks of consecutive
        rows and shuffled within a few blocks, so that the disk is read in long stretches.
        """
        if self.vectors.nbytes <= ROWS_IN_MEMORY_BYTES:
            order = torch.from_numpy(generator.permutation(len(self)))
            vectors, labels = self._whole()
            for rows in torch.split(order, batch_size):
                yield vectors[rows].float(), labels[rows]
            return
        starts = generator.permutation(np.arange(0, len(self), BLOCK_ROWS))
        for group in np.array_split(starts, math.ceil(len(starts) / 4)):
            read = [self._read(slice(int(start), int(start) + BLOCK_ROWS)) for start in group]
            vectors, labels = (torch.cat(parts) for parts in zip(*read, strict=True))
            for rows in torch.split(torch.from_numpy(generator.permutation(len(labels))), batch_size):
                yield vectors[rows], labels[rows]

    def _whole(self) -> tuple[torch.Tensor, torch.Tensor]:
        if not hasattr(self, "_cached"):
            # a frozen dataclass still lets us keep what was read once
            object.__setattr__(self, "_cached", self._read(slice(None)))
        cached: tuple[torch.Tensor, torch.Tensor] = self._cached  # type: ignore[attr-defined]
        return cached

    def _read(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(self.vectors, np.memmap):
            # a mapping of its own: its pages are given back when the block is done with
            vectors = np.array(np.load(str(self.vectors.filename), mmap_mode="r")[rows], dtype=np.float32)
        else:
            vectors = np.array(self.vectors[rows], dtype=np.float32)
        return torch.from_numpy(vectors), torch.from_numpy(self.labels[rows])
