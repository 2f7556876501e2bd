"""Files that are either whole or absent: atomic writes, reading JSON, hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftkit.disk import gibibytes, writing_told
from ftkit.errors import UserError
from ftkit.interruption import STOP
from ftkit.unfinished import unfinished

StrPath = str | os.PathLike[str]
"""A path as Python code has it; a run and what `train` returns are such."""

PROCESS_HANDLES = Path("/proc/self/fd")
"""Where Linux has what this process holds open."""
BLOCK_BYTES = 2**22
"""Read or copied at a time: few enough to break off at once."""
LARGEST_JSON = 64 * 2**20
"""Bytes of a JSON file that describes something; what is larger describes nothing."""


@contextlib.contextmanager
def atomic_path(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success it is synced and renamed to `target`, else removed.

    Both are in one folder, hence on the same file system. It is not made: one that was moved or removed meanwhile, such
    as a run, is not to come to be again with one file in it.

    Args:
        target: the file.
        replace: one that is there; else it must not be.

    Raises:
        FileNotFoundError: the folder is gone.
        UserError: it was made meanwhile and is not to be replaced; what was written has a name beside it.
        DiskError: the disk refused it.
    """
    with writing_told(target), unfinished(target.name, target.parent) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; a run's files get the permissions that the user's umask asks for
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if replace:
            temporary.replace(target)
        else:
            _take(temporary, target)
        sync_folder(target.parent)


def _take(temporary: Path, target: Path) -> None:
    """Give a file a name that nobody else may have taken meanwhile."""
    try:
        os.link(temporary, target)
    except OSError as error:
        # a file system without links is asked first
        if not isinstance(error, FileExistsError) and not target.exists():
            temporary.rename(target)
            return
        number = 2
        while (spare := target.with_name(f"{target.name}-{number}")).exists():
            number += 1
        temporary.rename(spare)
        problem = f"{target} was made meanwhile by somebody else and is left alone"
        raise UserError(problem, fix=f"what was written is in {spare}") from None


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """A path to a folder for libraries that make whatever folders they miss.

    It leads to the folder itself, not to its name: where the folder is moved it is written to there, and where it is
    removed every write fails. Systems without /proc get the folder's name.
    """
    handle = os.open(folder, os.O_RDONLY) if PROCESS_HANDLES.is_dir() else None
    held = folder if handle is None else PROCESS_HANDLES / str(handle)
    try:
        yield held
    except OSError as error:
        if isinstance(error.filename, str) and Path(error.filename).is_relative_to(held):
            error.filename = str(folder / Path(error.filename).relative_to(held))
        raise
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder among the temporary files of this machine, thrown away in the end.

    Raises:
        UserError: there is no place for temporary files.
        DiskError: the disk of that place refused a write.
    """
    try:
        parent = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UserError(f"no temporary file can be written: {error.strerror}", fix="set TMPDIR to a folder") from None
    another = "free some space there, or set TMPDIR to a folder on another disk"
    with writing_told(parent, fix=another), unfinished(name, parent, folder=True) as path:
        yield path


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
