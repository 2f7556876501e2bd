"""Files that are either whole or absent: atomic writes, hashes, and the user's cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftkit.errors import UserError
from ftkit.interruption import STOP

StrPath = str | os.PathLike[str]
"""A path as Python code has it; a run and what `train` returns are such."""

BLOCK_BYTES = 2**22
"""Read or copied at a time: few enough to break off at once."""
SECONDS_UNTIL_STALE = 24 * 3600
"""A half-built cache folder in which nothing was written for that long belongs to a process that was killed."""

LARGEST_JSON = 64 * 2**20
"""Bytes of a JSON file that describes something; what is larger describes nothing."""

_HALF_BUILT = re.compile(r"\..+\.[a-z0-9_]{8}")
"""What `tempfile` makes of the prefix `.name.`."""
_REFUSED = (
    "no space left",
    "input/output error",
    "i/o error",
    "disk quota",
    "file too large",
    "unexpected pos",
    "pytorchstreamwriter failed",
    "iostream error",
)
"""Words, in lower case, by which libraries say that a write was refused."""


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success it is synced and renamed to `target`, else removed.

    The folder is made; both are in it, hence on the same file system.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; a run's files get the permissions that the user's umask asks for
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def half_written(folder: Path) -> list[Path]:
    """Files in a folder that `atomic_path` was filling when its process was killed."""
    if not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if entry.is_file() and _HALF_BUILT.fullmatch(entry.name)]


def failure_of_disk(error: BaseException) -> str | None:
    """What the disk said, in words, when an error is a write that it refused; None for any other error.

    torch, safetensors and tokenizers raise errors of their own, tokenizers a bare Exception: known by their words.
    """
    if isinstance(error, OSError):
        refusals = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)
        return os.strerror(error.errno) if error.errno in refusals else None
    if type(error) in (Exception, RuntimeError) or type(error).__name__ == "SafetensorError":
        return next((line for line in str(error).splitlines() if any(mark in line.lower() for mark in _REFUSED)), None)
    return None


def gibibytes(num_bytes: int) -> str:
    """A size in words.

    Example:
        >>> gibibytes(3 * 2**29), gibibytes(2**20)
        ('1.50 GiB', '0.001 GiB')
    """
    size = num_bytes / 2**30
    return f"{size:.2f} GiB" if size >= 0.1 else f"{size:.3f} GiB"


def sync_folder(folder: Path) -> None:
    """Have a folder's list of names on the disk: files renamed, made and removed in it."""
    if os.name == "nt":
        return  # Windows opens no folders, and its file system keeps the order by itself
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Have every file and folder below `folder` on the disk, innermost first, and itself last."""
    below = sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True)
    for path in below:
        if path.is_dir() and not path.is_symlink():
            sync_folder(path)
        elif path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


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


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(target: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given, NaN refused."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file that describes something, whoever wrote it.

    Raises:
        UserError: naming the file: it is not there, is no file, too large, no UTF-8, no JSON, or nested without end.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no ordinary file")
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has {gibibytes(path.stat().st_size)}")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        reason = "it is nested too deep" if isinstance(error, RecursionError) else told
        raise UserError(f"{path.name} cannot be read: {reason}", where=str(path)) from error


def read_json_object(path: Path, kinds: Mapping[str, type | tuple[type, ...]] | None = None) -> dict[str, Any]:
    """The object of a JSON file, as `read_json`.

    Args:
        path: the file.
        kinds: dotted key -> types of its value where it is there and not null.

    Raises:
        UserError: it cannot be read, holds no object, or a value of another type.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path.name} holds {_kind(found)} where an object is expected", where=str(path))
    for key, expected in (kinds or {}).items():
        value: Any = found
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and not isinstance(value, expected):
            raise UserError(f"{path.name}: {key} cannot be {_kind(value)}", where=str(path))
    return found


def _kind(value: object) -> str:
    names = {"dict": "an object", "list": "a list", "str": "a text", "bool": "a truth value", "NoneType": "null"}
    return names.get(type(value).__name__, "a number")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            STOP.poll()
            digest.update(block)
    return digest.hexdigest()


def sha256_texts(texts: Iterable[str]) -> str:
    """Hex SHA-256 of a sequence of texts; their lengths go in too, so moving a boundary changes the hash."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """SHA-256 of a large file, remembered by its path, size and modification time."""
    stat = path.stat()
    seen = {"path": str(path.absolute()), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    note = cache_root() / "hashes" / f"{sha256_texts([str(path.absolute())])[:16]}.json"
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(note.read_text(encoding="utf-8"))
        if {key: told.get(key) for key in seen} == seen:
            return str(told["sha256"])
    digest = sha256_file(path)
    # A cache folder that cannot be written costs the next start a hash, no more.
    with contextlib.suppress(OSError):
        write_json(note, seen | {"sha256": digest})
    return digest


def cache_root() -> Path:
    """The user's cache folder: $FTKIT_CACHE, else $XDG_CACHE_HOME/ftkit, else ~/.cache/ftkit."""
    if named := os.environ.get("FTKIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftkit"


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cache folder `name`, made by `build` when it is not there yet.

    The folder appears under its name only when `build` has returned, by one rename, so neither a kill nor a second
    process building the same thing can leave or see half of it: whoever comes second finds the name taken and
    throws its own copy away. What a kill leaves behind is removed a day later, by the next process that builds
    something beside it. What the folder holds must be determined by its name (`builtin/tiny-bert-1`).

    Raises:
        UserError: the cache folder cannot be written.
    """
    target = cache_root() / name
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise UserError(
            f"the cache folder cannot be written: {error.strerror}",
            where=str(target.parent),
            fix="set FTKIT_CACHE to a folder that can be",
        ) from None
    remove_stale(target.parent)
    try:
        build(temporary)
        temporary.chmod(0o755)
        sync_tree(temporary)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def remove_stale(folder: Path) -> None:
    """Remove the half-built folders of killed processes from a cache folder.

    One that is being filled has a file younger than SECONDS_UNTIL_STALE, so it stays; whoever removes the same one at
    the same time does no harm.
    """
    for entry in folder.iterdir():
        if _HALF_BUILT.fullmatch(entry.name) and time.time() - _last_written(entry) > SECONDS_UNTIL_STALE:
            shutil.rmtree(entry, ignore_errors=True)


def _last_written(folder: Path) -> float:
    """Newest modification time of a folder and all that is in it; now, for what vanishes while it is looked at."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return time.time()
