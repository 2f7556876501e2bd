"""The frozen encoder run once: token vectors pooled to one vector an example, stored on disk, replayed ever after."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ftkit.cache import build_once, built
from ftkit.data.mixture.shares import Mixing
from ftkit.inputs.examples import Examples, Rows
from ftkit.models.checkpoint import Pooling
from ftkit.models.pooled import pool
from ftkit.models.scoring import polled
from ftkit.storage import sha256_texts, write_json

FORMAT = 1
"""Layout version of stored features; part of their key."""


SPELT = {"processor": "tokenizer", "inputs": "texts"}
"""Fields of a key -> what they are called on the disk."""


class Chunk(NamedTuple):
    """Consecutive rows of a split as an encoder reads them, and how many of them were cut."""

    examples: Examples
    num_cut: int


@dataclass(frozen=True)
class FeatureKey:
    """Everything that stored features depend on; two equal keys mean equal features.

    Attributes:
        weights: hash of the encoder's.
        processor: hash of what makes examples of inputs, such as a tokenizer.
        inputs: hash of the rows.
        max_length: of an example.
        tokens: which of the encoder's vectors are kept.
        normalize: whether they are.
        dtype: in which the encoder ran.
        device: on which kind of device.
        versions: of the libraries.
    """

    weights: str
    processor: str
    inputs: str
    max_length: int
    tokens: str
    normalize: bool
    dtype: str
    device: str
    versions: str

    @property
    def name(self) -> str:
        """Folder below the cache root."""
        return f"features/{sha256_texts([str(FORMAT), json.dumps(self.to_dict(), sort_keys=True)])[:32]}"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it, spelt as when the first features were stored, so that those are found."""
        return {SPELT.get(name, name): value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Features:
    """Stored encoder outputs of one split.

    Attributes:
        folder: where they lie.
        vectors: (N, D), float16 or float32, memory-mapped.
        lengths: tokens of each example after truncation, (N,).
        num_truncated: examples that were longer than max_length.
        reused: they were there already, so the encoder did not run.
    """

    folder: Path
    vectors: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    num_truncated: int
    reused: bool


def stored(key: FeatureKey) -> Features | None:
    """The features of a key, when the encoder has run over them before and they are as they were stored."""
    folder = built(key.name)
    return None if folder is None else _open(folder, reused=True)


def encode(
    encoder: nn.Module,
    chunks: Iterable[Chunk],
    *,
    key: FeatureKey,
    pooling: Pooling,
    num_rows: int,
    width: int,
    device: torch.device,
    advance: Callable[[int], None] = lambda _rows: None,
) -> Features:
    """Run an encoder once over a split and store what the head will read.

    Memory holds one chunk of examples and a few batches, never all features. On a CPU each core runs batches of its
    own with one thread: small matrices do not fill two cores together.

    Args:
        encoder: maps the arrays of examples to an output with `last_hidden_state` (B, T, D); in eval mode.
        chunks: the split in consecutive chunks.
        key: names the features.
        pooling: what is kept of (B, T, D).
        num_rows: N.
        width: D.
        device: where the encoder lies.
        advance: called with the number of rows just encoded.
    """
    precision = np.float32 if key.dtype == "float32" else np.float16

    def build(folder: Path) -> None:
        vectors = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=precision, shape=(num_rows, width))
        _reserve(folder / "vectors.npy")
        lengths: list[Rows] = []
        num_truncated = 0

        def run(examples: Examples, rows: Rows, start: int) -> int:
            with torch.inference_mode():
                inputs = {name: torch.from_numpy(values).to(device) for name, values in examples.arrays(rows).items()}
                hidden = encoder(**inputs).last_hidden_state
                pooled = pool(hidden, tokens=pooling.tokens, normalize=pooling.normalize)
            vectors[start + rows] = pooled.cpu().numpy().astype(precision)
            return len(rows)

        # a batch of a large encoder takes a minute on a CPU, one of its layers does not
        with polled(*encoder.modules()), _workers(device) as workers:
            for examples, num_cut in chunks:
                start = sum(map(len, lengths))
                for finished in workers.map(partial(run, examples, start=start), examples.cut(device.type)):
                    advance(finished)
                num_truncated += num_cut
                lengths.append(examples.lengths)
        vectors.flush()
        np.save(folder / "lengths.npy", np.concatenate(lengths))
        write_json(folder / "features.json", {"num_truncated": num_truncated, "key": key.to_dict()})

    return _open(build_once(key.name, build), reused=False)


def _reserve(file: Path) -> None:
    """Have the disk set a mapped file's bytes aside: where it is full, writing to the map would end the process."""
    if hasattr(os, "posix_fallocate"):
        with file.open("rb+") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


@contextlib.contextmanager
def _workers(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        workers = ThreadPoolExecutor(1)
    else:
        workers = ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1))
    try:
        yield workers
    finally:
        # batches that wait would be run to the last one
        workers.shutdown(cancel_futures=True)
        # the number of threads belongs to the process, whichever thread sets it
        torch.set_num_threads(threads)


def _open(folder: Path, *, reused: bool) -> Features:
    facts = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    return Features(
        folder=folder,
        vectors=np.load(folder / "vectors.npy", mmap_mode="r"),
        lengths=np.load(folder / "lengths.npy"),
        num_truncated=int(facts["num_truncated"]),
        reused=reused,
    )


ROWS_IN_MEMORY_BYTES = 256 * 2**20
"""Stored features up to this size are read whole; larger ones block by block."""


BLOCK_ROWS = 32_768
"""Rows read together from features that do not fit."""


class Part(NamedTuple):
    """Some rows: features (n, D) float32, labels (n,) and folds (n,), 0 where there are none."""

    vectors: torch.Tensor
    labels: torch.Tensor
    folds: torch.Tensor


def _shuffled(num_rows: int, times: npt.NDArray[np.int64] | None, generator: np.random.Generator) -> torch.Tensor:
    """Numbers of rows in random order, each once, or so many times."""
    rows = np.arange(num_rows) if times is None else np.repeat(np.arange(num_rows), times)
    return torch.from_numpy(rows[generator.permutation(len(rows))])


@dataclass(frozen=True)
class FeatureRows:
    """Features (N, D), possibly memory-mapped, their labels (N,), and the fold of each (N,) where they are folded.

    Attributes:
        mixing: of the sources of training rows; None where every row is learnt once an epoch.
    """

    vectors: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64] | None = None
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
        return FeatureRows(np.array(self.vectors[rows]), self.labels[rows], folds)

    def blocks(self) -> Iterator[Part]:
        """The rows in order."""
        for start in range(0, len(self), BLOCK_ROWS):
            yield self._read(slice(start, start + BLOCK_ROWS))

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
                yield Part(*(column[rows] for column in whole))
            return
        starts = generator.permutation(np.arange(0, len(self), BLOCK_ROWS))
        for group in np.array_split(starts, math.ceil(len(starts) / 4)):
            read = [self._read(slice(int(start), int(start) + BLOCK_ROWS)) for start in group]
            whole = Part(*(torch.cat(parts) for parts in zip(*read, strict=True)))
            parts = [] if times is None else [times[start : start + BLOCK_ROWS] for start in group.tolist()]
            of_these = np.concatenate(parts) if parts else None
            for rows in torch.split(_shuffled(len(whole.labels), of_these, generator), batch_size):
                yield Part(*(column[rows] for column in whole))

    def _whole(self) -> Part:
        if not hasattr(self, "_cached"):
            # a frozen dataclass still lets us keep what was read once
            object.__setattr__(self, "_cached", self._read(slice(None)))
        cached: Part = self._cached  # type: ignore[attr-defined]
        return cached

    def _read(self, rows: slice) -> Part:
        if isinstance(self.vectors, np.memmap):
            # a mapping of its own: its pages are given back when the block is done with
            vectors = np.array(np.load(str(self.vectors.filename), mmap_mode="r")[rows], dtype=np.float32)
        else:
            vectors = np.array(self.vectors[rows], dtype=np.float32)
        labels = torch.from_numpy(self.labels[rows])
        folds = torch.zeros_like(labels) if self.folds is None else torch.from_numpy(self.folds[rows])
        return Part(torch.from_numpy(vectors), labels, folds)
