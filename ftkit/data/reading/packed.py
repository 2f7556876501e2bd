"""Files as bytes, unpacked while they are read where they are compressed: nothing is written to the disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ftkit.data.reading.paths import shown_path
from ftkit.errors import UserError
from ftkit.recipe.files import ending

MOST_UNPACKED, MOST_TIMES = 1 << 28, 200
"""A file that unpacks to more than so many bytes, and to so many times its own, is no text but a trap."""
_BUFFER = 1 << 16
_BROKEN = (
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    pa.ArrowException,
)
"""RuntimeError: a password, or a compression that Python's zipfile does not have."""
_MARKS = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zX": ".xz", b"PK\x03\x04": ".zip"}


def open_bytes(path: Path) -> BinaryIO:
    """Open a file to be read once from its start, in constant memory; what a compressed one holds is its bytes.

    Raises:
        UserError: here or while it is read: the file is damaged or cut, a zip does not hold one data file, or it
            unpacks to more than a text can.
    """
    suffix = path.suffix.lower()
    if suffix not in _OPENED:
        return path.open("rb")
    try:
        return io.BufferedReader(_Unpacked(path, _OPENED[suffix](path)), _BUFFER)
    except _BROKEN as error:
        raise _damaged(path, error) from error


def packed_mark(start: bytes) -> str | None:
    """The ending that a file with such first bytes should have: it is compressed."""
    return next((suffix for mark, suffix in _MARKS.items() if start.startswith(mark)), None)


def inner_ending(path: Path) -> str:
    """The ending, in lower case, that tells the format of a file or of what is in it: `.csv` of `train.csv.gz`.

    Raises:
        UserError: a zip that does not hold one data file.
    """
    if path.suffix.lower() != ".zip" or not path.is_file():
        return ending(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            return ending(_member(path, archive).filename)
    except _BROKEN as error:
        raise _damaged(path, error) from error


def refuse_swollen(path: Path, num_bytes: int) -> None:
    """Raise UserError where a file has unpacked to more bytes than texts do."""
    if num_bytes > MOST_UNPACKED and num_bytes > MOST_TIMES * path.stat().st_size:
        raise UserError(
            f"it unpacks to {num_bytes >> 20:,} MiB or more, {MOST_TIMES} times its size: texts do not",
            where=shown_path(path),
            fix="unpack it yourself if that is meant, and name what comes out",
        )


class _Unpacked(io.RawIOBase):
    """What is in a compressed file; faults of its bytes are told with its name."""

    def __init__(self, path: Path, stream: Any) -> None:
        self._path = path
        self._stream = stream
        self._num_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except _BROKEN as error:
            raise _damaged(self._path, error) from error
        self._num_bytes += len(data)
        refuse_swollen(self._path, self._num_bytes)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _open_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        # the archive stays open as long as what was opened of it
        return archive.open(_member(path, archive))


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    files = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_litter(entry.filename)]
    if len(files) != 1:
        names = ", ".join(entry.filename for entry in files[:6]) + (", ..." if len(files) > 6 else "")
        raise UserError(
            f"the zip holds {len(files):,} files: {names}" if files else "the zip holds no file",
            where=shown_path(path),
            fix="unpack it and name the file, or its folder in data.dataset_name",
        )
    return files[0]


def _is_litter(name: str) -> bool:
    """What file managers leave behind."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, RuntimeError):
        return UserError(f"the zip cannot be read: {reason}", where=shown_path(path), fix="unpack it and name the file")
    return UserError(
        f"not a whole {path.suffix.lower()} file: {reason}",
        where=shown_path(path),
        fix="copy or download it again, or name the unpacked file",
    )


_OPENED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.CompressedInputStream(str(path), "zstd"),
    ".zip": _open_zip,
}
