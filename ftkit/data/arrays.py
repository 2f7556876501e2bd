"""Arrow arrays to and from buffers.

`pa.array(values)` and `.to_numpy()` ask whether something is a pandas object and, where pandas is installed, import it
for the question: half a second at the start of every command. Nothing here does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def strings(texts: Sequence[str]) -> pa.Array:
    """A string array (N,) of texts, at most 2 GiB of UTF-8 in all."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum([len(data) for data in encoded], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def integers(values: np.ndarray) -> pa.Array:
    """An int32 array (N,)."""
    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values, np.int32))])


def mask(values: np.ndarray) -> pa.Array:
    """A boolean array (N,)."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def to_int64(column: pa.ChunkedArray) -> np.ndarray:
    """The values (N,) of an integer column without nulls."""
    parts = []
    for chunk in column.chunks:
        width = {pa.int32(): np.int32, pa.int64(): np.int64}[chunk.type]
        values = np.frombuffer(chunk.buffers()[1] or b"", dtype=width)
        parts.append(values[chunk.offset : chunk.offset + len(chunk)].astype(np.int64))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
