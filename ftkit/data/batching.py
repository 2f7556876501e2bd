"""Which rows go through a model together, so that little or nothing of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def exact_length_batches(lengths: Rows, *, max_tokens: int) -> Iterator[Rows]:
    """Group rows of the same length, longest first, so that a batch holds no padding at all.

    Args:
        lengths: tokens of each row, (N,).
        max_tokens: most tokens in a batch; a single longer row still gets a batch of its own.

    Yields:
        Row indices, each row in exactly one batch.

    Example:
        >>> [batch.tolist() for batch in exact_length_batches(np.array([3, 2, 3, 3]), max_tokens=6)]
        [[0, 2], [3], [1]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        length = int(lengths[order[start]])
        most = max(1, max_tokens // max(length, 1))
        stop = start
        while stop < len(order) and stop - start < most and lengths[order[stop]] == length:
            stop += 1
        yield order[start:stop]
        start = stop


def chunks(num_rows: int, *, size: int) -> Iterator[slice]:
    """Cut `num_rows` rows into consecutive slices of at most `size`.

    Example:
        >>> list(chunks(5, size=2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))
