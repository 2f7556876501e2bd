"""How much of two texts is the same: shingles (runs of characters or of words) and their Jaccard similarity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ftkit.data.duplicates import mix
from ftkit.interruption import STOP
from ftkit.metrics.scores import Floats, Integers

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Keys = NDArray[np.uint64]

SHINGLE = 4
MAX_PRODUCTS = 1_500_000_000
MAX_ENTRIES = 2_500_000
"""Pairs of texts that are scored at a time: some 100 MB."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def similar(sought: Sequence[str], known: Sequence[str], *, least: float) -> Iterator[tuple[int, Integers, Floats]]:
    """Score all pairs of two lists of texts by the 4-grams of characters that they hold.

    Where that takes more than MAX_PRODUCTS multiplications the commonest 4-grams are left out, and similarity is that
    of the rest.

    Args:
        sought: N texts.
        known: M texts.
        least: similarity below which a pair is left out, in (0, 1].

    Yields:
        (row, similar rows (S,), their Jaccard similarity (S,)) for each row of `sought` that has some.
    """
    if not len(sought) or not len(known):
        return
    a, b = _shingle_matrices(sought, known)
    sizes_a, sizes_b = np.diff(a.indptr), np.diff(b.indptr)
    columns = b.T.tocsr()
    step = max(1, MAX_ENTRIES // len(known))
    for start in range(0, len(sought), step):
        STOP.poll()
        shared = a[start : start + step] @ columns
        rows = start + np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        # intersection >= t * union, without the quotient
        union = sizes_a[rows] + sizes_b[shared.indices] - shared.data
        kept = np.flatnonzero(shared.data >= least * union)
        rows, others, scores = rows[kept], shared.indices[kept].astype(np.int64), shared.data[kept] / union[kept]
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows)) + 1):
            if len(part):
                yield int(rows[part[0]]), others[part], scores[part]


def _shingle_matrices(sought: Sequence[str], known: Sequence[str]) -> tuple[csr_matrix, csr_matrix]:
    """Which text holds which 4-gram: (N, S) and (M, S), of ones."""
    from scipy.sparse import csr_matrix

    owner, keys = _shingles([*sought, *known])
    values, columns = np.unique(keys, return_inverse=True)
    ones = np.ones(len(owner), dtype=np.float32)
    matrix = csr_matrix((ones, (owner, columns)), shape=(len(sought) + len(known), len(values)))
    # an entry for each occurrence was summed: sets count it once
    matrix.data[:] = 1
    a, b = matrix[: len(sought)], matrix[len(sought) :]
    products = np.bincount(a.indices, minlength=len(values)) * np.bincount(b.indices, minlength=len(values))
    if products.sum() > MAX_PRODUCTS:
        order = np.argsort(products, kind="stable")
        kept = np.sort(order[np.cumsum(products[order]) <= MAX_PRODUCTS])
        a, b = a[:, kept], b[:, kept]
    return a, b


def _shingles(texts: Sequence[str]) -> tuple[Integers, Keys]:
    """Owner and key of every 4-gram of characters; each text stands between blanks, an empty one has none."""
    padded = [f" {text} " if text else "" for text in texts]
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return ngrams(mix(letters, 0), lengths, SHINGLE)


def ngrams(symbols: Keys, lengths: Integers, size: int) -> tuple[Integers, Keys]:
    """Owner (G,) and key (G,) of every run of `size` symbols that lies within a text.

    Args:
        symbols: scrambled numbers of the symbols of all texts, one text after the other (L,).
        lengths: symbols of each text (N,), summing to L.
        size: symbols of a run.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    count = len(symbols) - size + 1
    if count < 1:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    keys = np.zeros(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for place in range(size):
            keys = keys * _MULTIPLIER + symbols[place : place + count]
    whole = owner[:count] == owner[size - 1 :]
    return owner[:count][whole], keys[whole]
