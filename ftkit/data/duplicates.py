"""When two texts count as the same, and a fast key for it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa


def normalise(text: str) -> str:
    """The form in which texts are compared: NFKC, casefolded, runs of white space as one blank, none at the ends.

    Example:
        >>> normalise("  Ｆree\\tENTRY \\n now")
        'free entry now'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def key_of(*texts: str) -> int:
    """64-bit key of a text, or of a pair: equal for equal normalised texts, the same on every machine and run.

    Two different texts among a million share a key with probability 3e-8.
    """
    # no normalised text holds U+001F (str.split takes it for white space), so it cannot blur where a pair is cut
    data = "\x1f".join(map(normalise, texts)).encode()
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def text_keys(table: pa.Table) -> np.ndarray:
    """Keys (N,), uint64, of a table's rows, from its text and, where there is one, its text_pair column."""
    names = [name for name in ("text", "text_pair") if name in table.column_names]
    keys = np.empty(table.num_rows, dtype=np.uint64)
    start = 0
    for batch in table.select(names).to_batches(max_chunksize=10_000):
        columns: Sequence[list[str]] = [batch.column(name).to_pylist() for name in names]
        keys[start : start + batch.num_rows] = [key_of(*row) for row in zip(*columns, strict=True)]
        start += batch.num_rows
    return keys


def mix(values: np.ndarray, seed: int) -> np.ndarray:
    """Scramble uint64 values (N,) with a seed: random-looking, the same everywhere.

    NumPy's generators may change their streams between versions; this does not.
    Source: the output function of SplitMix64 (Steele, Lea, Flood 2014).
    """
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
