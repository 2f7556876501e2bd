"""The frozen encoder run once: token vectors pooled to one vector an example, stored on disk, replayed ever after."""

from __future__ import annotations

import contextlib
import json
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
from ftkit.inputs.encoding import offsets_of
from ftkit.inputs.examples import Examples, Rows
from ftkit.models.checkpoint import Pooling
from ftkit.models.pooled import pool
from ftkit.models.scoring import polled
from ftkit.recipe.data_section import CUT
from ftkit.storage import sha256_texts, write_json
from ftkit.training.scores import is_first

FORMAT = 1
"""Layout version of stored features; part of their key."""


OFFSETS_FILE = "offsets.npy"
"""Where the windows of each row begin, if there are more windows than rows."""
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
        long_texts: how inputs are read that are longer than max_length, in words.
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
    long_texts: str = CUT.in_words

    @property
    def name(self) -> str:
        """Folder below the cache root."""
        return f"features/{sha256_texts([str(FORMAT), json.dumps(self.to_dict(), sort_keys=True)])[:32]}"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it, spelt as when the first features were stored, so that those are found."""
        found = {SPELT.get(name, name): value for name, value in asdict(self).items()}
        if self.long_texts == CUT.in_words:
            del found["long_texts"]
        return found


@dataclass(frozen=True)
class Features:
    """Stored encoder outputs of one split of N rows.

    Attributes:
        folder: where they lie.
        vectors: (W, D), float16 or float32, memory-mapped: one for each row, or for each window of long ones.
        lengths: tokens of each row, or window, after truncation, (W,).
        num_truncated: rows that were longer than max_length.
        reused: they were there already, so the encoder did not run.
        offsets: the windows of row n are offsets[n] up to offsets[n + 1], (N + 1,); None: there is one of each row.
    """

    folder: Path
    vectors: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    num_truncated: int
    reused: bool
    offsets: npt.NDArray[np.int64] | None = None


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
        width: D.
        device: where the encoder lies.
        advance: called with the number of rows just encoded.
    """
    precision = np.float32 if key.dtype == "float32" else np.float16

    def build(folder: Path) -> None:
        lengths: list[Rows] = []
        counts: list[Rows] = []
        num_truncated = 0

        def run(examples: Examples, firsts: npt.NDArray[np.bool_], vectors: npt.NDArray[Any], rows: Rows) -> int:
            with torch.inference_mode():
                inputs = {name: torch.from_numpy(values).to(device) for name, values in examples.arrays(rows).items()}
                hidden = encoder(**inputs).last_hidden_state
                pooled = pool(hidden, tokens=pooling.tokens, normalize=pooling.normalize)
            vectors[rows] = pooled.cpu().numpy().astype(precision)
            # what is told of is rows, each when its first window is done
            return int(firsts[rows].sum())

        grown = _GrowingArray(folder / "vectors.npy", dtype=precision, width=width)
        # a batch of a large encoder takes a minute on a CPU, one of its layers does not
        with polled(*encoder.modules()), _workers(device) as workers:
            for examples, num_cut in chunks:
                work = partial(run, examples, is_first(examples.rows), grown.grow(len(examples)))
                for finished in workers.map(work, examples.cut(device.type)):
                    advance(finished)
                num_truncated += num_cut
                lengths.append(examples.lengths)
                counts.append(np.bincount(examples.rows))
        grown.close()
        np.save(folder / "lengths.npy", np.concatenate(lengths))
        offsets = offsets_of(np.concatenate(counts))
        if offsets[-1] >= len(offsets):
            np.save(folder / OFFSETS_FILE, offsets)
        write_json(folder / "features.json", {"num_truncated": num_truncated, "key": key.to_dict()})

    return _open(build_once(key.name, build), reused=False)


class _GrowingArray:
    """A .npy file of vectors (N, D) of which N is not known before the last; each part is written through a map."""

    def __init__(self, file: Path, *, dtype: npt.DTypeLike, width: int) -> None:
        self.file = file
        self.dtype = np.dtype(dtype)
        self.width = width
        self.length = 0
        self.part: np.memmap[Any, Any] | None = None
        file.touch()
        self.start = self._write_header()

    def _write_header(self) -> int:
        """Say how long the array is, in as many bytes whatever that is: numpy leaves room for it to grow."""
        shape = (self.length, self.width)
        with self.file.open("rb+") as opened:
            described = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(opened, described)
            return opened.tell()

    def grow(self, num_rows: int) -> npt.NDArray[Any]:
        """The next vectors (num_rows, D), to be filled."""
        offset = self.start + self.length * self.width * self.dtype.itemsize
        shape = (num_rows, self.width)
        self._reserve(offset, num_rows * self.width * self.dtype.itemsize)
        self.length += num_rows
        self._flush()
        self.part = np.memmap(self.file, dtype=self.dtype, mode="r+", offset=offset, shape=shape)
        return self.part

    def _flush(self) -> None:
        if self.part is not None:
            self.part.flush()

    def _reserve(self, offset: int, size: int) -> None:
        """Have the disk set bytes aside: where it is full, writing to the map would end the process."""
        with self.file.open("rb+") as opened:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(opened.fileno(), offset, size)
            else:
                opened.truncate(offset + size)

    def close(self) -> None:
        """All vectors are there."""
        self._flush()
        start = self._write_header()
        assert start == self.start, "the vectors begin where they began"


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
        offsets=np.load(offsets) if (offsets := folder / OFFSETS_FILE).is_file() else None,
    )
