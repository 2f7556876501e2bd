"""Files that are either whole or absent: atomic writes, hashes, and the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success it is synced and renamed to `target`, else removed.

    Args:
        target: the file to write; its folder is made.

    Yields:
        Path to write to, in the same folder, hence on the same file system.
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
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(target: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given, NaN refused."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_texts(texts: Iterable[str]) -> str:
    """Hex SHA-256 of a sequence of texts; their lengths go in too, so moving a boundary changes the hash."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def cache_root() -> Path:
    """The user's cache folder: $FTKIT_CACHE, else $XDG_CACHE_HOME/ftkit, else ~/.cache/ftkit."""
    if named := os.environ.get("FTKIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftkit"


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cache folder `name`, made by `build` when it is not there yet.

    The folder appears under its name only when `build` has returned, by one rename, so neither a kill nor a second
    process building the same thing can leave or see half of it: whoever comes second finds the name taken and
    throws its own copy away.

    Args:
        name: path below the cache folder (`builtin/tiny-bert-1`); what it holds must be determined by the name.
        build: fills the empty folder it is given.
    """
    target = cache_root() / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        build(temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
