"""Stored features as the rows that a head is fitted on and judged by, whole or block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ftkit.data.mixture.shares import Mixing
from ftkit.encoders.heads import ALL, Head
from ftkit.encoders.store import Features
from ftkit.errors import RunError
from ftkit.inputs.encoding import offsets_of, ranges

ROWS_IN_MEMORY_BYTES = 256 * 2**20
"""Stored features up to this size are read whole; larger ones block by block."""
BLOCK_ROWS = 32_768
"""Vectors read together from features that do not fit."""


class Part(NamedTuple):
    """Some rows: features (w, D) float32, labels (n,) and folds (n,), 0 where there are none.

    Of each row there is one vector, or as many windows behind one another as `windows` says (n,).
    """

    vectors: torch.Tensor
    labels: torch.Tensor
    folds: torch.Tensor
    windows: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> Part:
        """Some of them."""
        if self.windows is None:
            return Part(self.vectors[rows], self.labels[rows], self.folds[rows])
        counts = self.windows[rows]
        starts = (self.windows.cumsum(0) - self.windows)[rows]
        index = torch.from_numpy(ranges(starts.numpy(), counts.numpy()))
        return Part(self.vectors[index], self.labels[rows], self.folds[rows], counts)

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """All rows of some parts."""
        windows = [part.windows for part in parts if part.windows is not None]
        return cls(
            torch.cat([part.vectors for part in parts]),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.folds for part in parts]),
            torch.cat(windows) if windows else None,
        )


def row_logits(head: Head, part: Part, *, device: torch.device, candidates: slice = ALL) -> torch.Tensor:
    """Logits (P, n, K) that a head, or some of its candidates, gives rows: the mean over the windows of each."""
    logits: torch.Tensor = head(part.vectors.to(device), candidates)
    if part.windows is None:
        return logits
    counts = part.windows.to(device)
    owners = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
    sums = logits.new_zeros(len(logits), len(counts), logits.shape[2]).index_add(1, owners, logits)
    return sums / counts[:, None]


def _shuffled(num_rows: int, times: npt.NDArray[np.int64] | None, generator: np.random.Generator) -> torch.Tensor:
    """Numbers of rows in random order, each once, or so many times."""
    rows = np.arange(num_rows) if times is None else np.repeat(np.arange(num_rows), times)
    return torch.from_numpy(rows[generator.permutation(len(rows))])


@dataclass(frozen=True)
class FeatureRows:
    """Features of N rows, possibly memory-mapped, their labels (N,), and the fold of each (N,) where they are folded.

    Attributes:
        vectors: (N, D), or the W windows of all rows, those of a row behind one another (W, D).
        offsets: of windows: those of row n are offsets[n] up to offsets[n + 1], (N + 1,).
        averages: whether a row is read as the mean of its windows' vectors, of which a linear layer makes the mean of
            their logits; else all of them are read.
        mixing: of the sources of training rows; None where every row is learnt once an epoch.
    """

    vectors: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64] | None = None
    offsets: npt.NDArray[np.int64] | None = None
    averages: bool = True
    mixing: Mixing | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_folds(self) -> int:
        """F, of folds 0 to F - 1; 0 where there are none."""
        return 0 if self.folds is None else int(self.folds.max()) + 1

    def take(self, rows: npt.NDArray[np.int64]) -> FeatureRows:
        """Some of the rows, in memory."""
        folds = None if self.folds is None else self.folds[rows]
        if self.offsets is None:
            return FeatureRows(np.array(self.vectors[rows]), self.labels[rows], folds)
        starts, counts = self.offsets[rows], np.diff(self.offsets)[rows]
        vectors = np.array(self.vectors[ranges(starts, counts)])
        return FeatureRows(vectors, self.labels[rows], folds, offsets_of(counts), self.averages)

    @property
    def _block_rows(self) -> int:
        return max(1, BLOCK_ROWS * len(self) // max(1, len(self.vectors)))

    def blocks(self) -> Iterator[Part]:
        """The rows in order."""
        for start in range(0, len(self), self._block_rows):
            yield self._read(start, start + self._block_rows)

    def times(self, *, seed: int, epoch: int) -> npt.NDArray[np.int64] | None:
        """How often each row is learnt in an epoch (N,); None where that is once."""
        if self.mixing is None:
            return None
        return np.bincount(self.mixing.drawn(seed=seed, epoch=epoch), minlength=len(self))

    def batches(
        self, batch_size: int, generator: np.random.Generator, times: npt.NDArray[np.int64] | None = None
    ) -> Iterator[Part]:
        """The rows once, or so many times each (N,), shuffled, in batches.

        Features that fit in memory are shuffled as a whole; larger ones are read in shuffled blocks of consecutive
        rows and shuffled within a few blocks, so that the disk is read in long stretches.
        """
        if self.vectors.nbytes <= ROWS_IN_MEMORY_BYTES:
            whole = self._whole()
            for rows in torch.split(_shuffled(len(self), times, generator), batch_size):
                yield whole.take(rows)
            return
        size = self._block_rows
        starts = generator.permutation(np.arange(0, len(self), size))
        for group in np.array_split(starts, math.ceil(len(starts) / 4)):
            joined = Part.joined([self._read(start, start + size) for start in group.tolist()])
            parts = [] if times is None else [times[start : start + size] for start in group.tolist()]
            of_these = np.concatenate(parts) if parts else None
            for rows in torch.split(_shuffled(len(joined.labels), of_these, generator), batch_size):
                yield joined.take(rows)

    def _whole(self) -> Part:
        if not hasattr(self, "_cached"):
            # a frozen dataclass still lets us keep what was read once
            object.__setattr__(self, "_cached", self._read(0, len(self)))
        cached: Part = self._cached  # type: ignore[attr-defined]
        return cached

    def _read(self, start: int, stop: int) -> Part:
        rows = slice(start, min(stop, len(self)))
        labels = torch.from_numpy(self.labels[rows])
        folds = torch.zeros_like(labels) if self.folds is None else torch.from_numpy(self.folds[rows])
        if self.offsets is None:
            return Part(torch.from_numpy(self._vectors(rows)), labels, folds)
        begins = self.offsets[rows]
        counts = self.offsets[rows.start + 1 : rows.stop + 1] - begins
        vectors = self._vectors(slice(int(begins[0]), int(begins[0] + counts.sum())))
        if not self.averages:
            return Part(torch.from_numpy(vectors), labels, folds, torch.from_numpy(counts))
        means = np.add.reduceat(vectors, begins - begins[0], axis=0) / counts[:, None].astype(np.float32)
        return Part(torch.from_numpy(means), labels, folds)

    def _vectors(self, places: slice) -> npt.NDArray[np.float32]:
        if isinstance(self.vectors, np.memmap):
            # a mapping of its own: its pages are given back when the block is done with
            file = str(self.vectors.filename)
            try:
                return np.array(np.load(file, mmap_mode="r")[places], dtype=np.float32)
            except FileNotFoundError:
                raise RunError(
                    "stored features were removed while they were in use",
                    where=file,
                    fix="start the run again: they are made anew",
                ) from None
        return np.array(self.vectors[places], dtype=np.float32)


def row_vectors(features: Features) -> npt.NDArray[np.float32]:
    """The vector of each row (N, D), or the mean of its windows', in memory."""
    if features.offsets is None:
        return np.asarray(features.vectors, dtype=np.float32)
    unlabelled = np.zeros(len(features.offsets) - 1, dtype=np.int64)
    read = FeatureRows(features.vectors, unlabelled, offsets=features.offsets)
    return np.concatenate([part.vectors.numpy() for part in read.blocks()])
