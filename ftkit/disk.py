"""What is said when a disk refuses a write, or would."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ftkit.errors import RunError, UserError

FREE_SOME = "free some space there"

_REFUSED = (
    "no space left",
    "read-only file system",
    "input/output error",
    "i/o error",
    "disk quota",
    "file too large",
    "unexpected pos",
    "pytorchstreamwriter failed",
    "iostream error",
)
"""Words, in lower case, by which libraries say that a write was refused."""


class DiskError(RunError):
    """A write that a disk refused: what could not be written, on which disk, and what is free there."""


@contextlib.contextmanager
def writing_told(place: Path, *, fix: str = FREE_SOME) -> Iterator[None]:
    """Turn a write that the disk refused into one message; `place` is named unless the error names a file.

    What was told already by who had no advice gets this one.

    Raises:
        DiskError: the disk is full, broken or read-only.
    """
    try:
        yield
    except DiskError as error:
        if error.fix != FREE_SOME:
            raise
        raise DiskError(error.problem, fix=fix) from error
    except UserError:
        raise
    except Exception as error:
        if (reason := failure_of_disk(error)) is None:
            raise
        named = error.filename if isinstance(error, OSError) else None
        raise disk_error(Path(named) if isinstance(named, str) else place, reason, fix=fix) from error


def disk_error(place: Path, reason: str, *, fix: str) -> DiskError:
    """The message about a place that cannot be written to."""
    nearest = nearest_folder(place.absolute())
    disk = next(folder for folder in (nearest, *nearest.parents) if folder.is_mount() or folder == folder.parent)
    free = gibibytes(shutil.disk_usage(nearest).free)
    return DiskError(f"{place} could not be written: {reason}; {free} are free on its disk, {disk}", fix=fix)


def failure_of_disk(error: BaseException) -> str | None:
    """What the disk said, in words, when an error is a write that it refused; None for any other error.

    torch, safetensors and tokenizers raise errors of their own, tokenizers a bare Exception: known by their words.
    """
    if isinstance(error, shutil.Error):
        # of copying a folder: what befell each of its files, in words
        return next((line for entry in error.args[0] if (line := _refusal_in(str(entry[-1])))), None)
    if isinstance(error, OSError):
        refusals = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)
        return os.strerror(error.errno) if error.errno in refusals else None
    if type(error) in (Exception, RuntimeError) or type(error).__name__ == "SafetensorError":
        return _refusal_in(str(error))
    return None


def _refusal_in(text: str) -> str | None:
    return next((line for line in text.splitlines() if any(mark in line.lower() for mark in _REFUSED)), None)


def gibibytes(num_bytes: int) -> str:
    """A size in words.

    Example:
        >>> gibibytes(3 * 2**29), gibibytes(2**20)
        ('1.50 GiB', '0.001 GiB')
    """
    size = num_bytes / 2**30
    return f"{size:.2f} GiB" if size >= 0.1 else f"{size:.3f} GiB"


def refuse_place(target: Path, *, overwrite: bool = False) -> None:
    """Refuse a place for a new file where none can be written; called before the work that the file is for.

    Raises:
        UserError: `target` exists, is a folder, or lies where nothing can be written.
    """
    if target.is_dir():
        raise UserError(f"{target} is a folder", fix="name a file")
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists already", fix="name another file, or add --overwrite")
    refuse_folder(target.absolute().parent, wanted=target)


def refuse_folder(folder: Path, *, wanted: Path) -> None:
    """Refuse a folder in which `wanted` cannot be made: it, or the nearest one above that exists, is not writable.

    Raises:
        UserError: naming what stands in the way.
    """
    nearest = nearest_folder(folder)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        obstacle = "cannot be written" if nearest.is_dir() else "is a file"
        raise UserError(f"{wanted} cannot be made: {nearest} {obstacle}", fix="choose another place")


def nearest_folder(path: Path) -> Path:
    """A path itself, or the nearest one above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
