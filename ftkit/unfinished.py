"""Files and folders that are being made: held while their process lives, removed by whoever finds them later."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: age alone tells
    fcntl = None  # type: ignore[assignment]

SECONDS_UNTIL_STALE = 24 * 3600
"""Where locks are not to be had, what nothing was written in for that long belongs to a process that was killed."""
SUFFIX = ".ftkit"
"""No file of anybody else is called `.NAME.xxxxxxxx.ftkit`."""
_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.ftkit")
_SWEPT: set[Path] = set()
"""Folders that this process has looked through."""


@contextlib.contextmanager
def unfinished(name: str, parent: Path, *, folder: bool = False) -> Iterator[Path]:
    """An empty file, or a folder, to be filled and renamed; what still has the name that it is given here is removed.

    A lock tells others that its process lives. What is left in `parent` of processes that do not is removed first.
    """
    if parent not in _SWEPT:
        _SWEPT.add(parent)
        sweep(parent)
    path, handle = _held(name, parent, folder=folder)
    try:
        yield path
    finally:
        _remove(path)
        os.close(handle)


def sweep(*folders: Path) -> None:
    """Remove what processes that are gone were making in some folders; what cannot be removed stays."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in list(folder.iterdir()):
                if _NAME.fullmatch(entry.name):
                    _remove_if_orphaned(entry)


def _held(name: str, parent: Path, *, folder: bool) -> tuple[Path, int]:
    while True:
        if folder:
            path = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=SUFFIX, dir=parent))
            handle = -1 if fcntl is None else os.open(path, os.O_RDONLY)
        else:
            handle, made = tempfile.mkstemp(prefix=f".{name}.", suffix=SUFFIX, dir=parent)
            path = Path(made)
        with contextlib.suppress(OSError):
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
        # somebody may have taken it for an orphan before it was held
        if path.exists():
            return path, handle if handle >= 0 else os.open(os.devnull, os.O_RDONLY)
        os.close(handle)


def _remove_if_orphaned(entry: Path) -> None:
    if entry.is_symlink() or fcntl is None:
        if not entry.is_symlink() and _is_stale(entry):
            _remove(entry)
        return
    handle = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(entry)
    except BlockingIOError:
        pass  # its process lives
    except OSError:
        if _is_stale(entry):
            _remove(entry)
    finally:
        os.close(handle)


def _is_stale(entry: Path) -> bool:
    """Whether nothing was written in it for a day; what vanishes while it is looked at is not."""
    with contextlib.suppress(OSError):
        newest = max(path.stat().st_mtime for path in (entry, *entry.rglob("*")))
        return time.time() - newest > SECONDS_UNTIL_STALE
    return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
