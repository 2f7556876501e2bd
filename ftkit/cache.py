"""The user's cache folder: what is made once, sealed, and verified before it is believed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftkit.disk import writing_told
from ftkit.errors import RunError, UserError
from ftkit.interruption import STOP
from ftkit.storage import BLOCK_BYTES, sha256_file, sha256_texts, sync_tree, write_json
from ftkit.unfinished import SUFFIX, unfinished

CACHE_SEAL = ".seal.json"
ANOTHER = "free some space there, or set FTKIT_CACHE to a folder on another disk"
LOG = logging.getLogger("ftkit")


def cache_root() -> Path:
    """The user's cache folder: $FTKIT_CACHE, else $XDG_CACHE_HOME/ftkit, else ~/.cache/ftkit."""
    if named := os.environ.get("FTKIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftkit"


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cache folder `name`, made by `build` when it is not there yet, or not as it was made.

    The folder appears under its name only when `build` has returned, by one rename, so neither a kill nor a second
    process building the same thing can leave or see half of it: whoever comes second finds the name taken and
    throws its own copy away. What a kill leaves behind is removed by the next process that builds something beside it.
    What the folder holds must be determined by its name (`builtin/tiny-bert-1`).

    Raises:
        UserError: the cache folder cannot be written.
        RunError: its disk is full, or it was removed meanwhile.
    """
    if (found := built(name)) is not None:
        return found
    target = cache_root() / name
    with contextlib.ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            making = stack.enter_context(unfinished(target.name, target.parent, folder=True))
        except OSError as error:
            raise UserError(
                f"the cache folder cannot be written: {error.strerror}",
                where=str(target.parent),
                fix="set FTKIT_CACHE to a folder that can be",
            ) from None
        stack.enter_context(writing_told(target, fix=ANOTHER))
        _make(making, target, build)
    return target


def _make(making: Path, target: Path, build: Callable[[Path], None]) -> None:
    try:
        build(making)
        making.chmod(0o755)
        _seal(making)
        sync_tree(making)
        making.rename(target)
    except OSError as error:
        if target.is_dir():
            return  # another process was faster
        if making.is_dir():
            raise
        raise RunError(
            f"{target.parent} was removed while {target.name} was being made in it", fix="run the command again"
        ) from error


def built(name: str) -> Path | None:
    """The cache folder `name` when it is there and every byte is as it was made; a damaged one is said, and removed.

    Raises:
        UserError: it is damaged and cannot be removed.
    """
    folder = cache_root() / name
    if not folder.is_dir():
        return None
    if (damage := _damage(folder)) is None:
        return folder
    LOG.warning("  %s is made anew: %s", folder, damage)
    try:
        # out of the way at once, for whoever else looks
        doomed = tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=SUFFIX, dir=folder.parent)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    except OSError as error:
        if folder.is_dir():
            fix = "remove it, or set FTKIT_CACHE to another folder"
            raise UserError(f"{damage}, and it cannot be removed: {error}", where=str(folder), fix=fix) from None
    return None


def known_sha256(path: Path) -> str:
    """SHA-256 of a large file, remembered by its path, size and modification time."""
    stat = path.stat()
    seen = {"path": str(path.absolute()), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    note = cache_root() / "hashes" / f"{sha256_texts([str(path.absolute())])[:16]}.json"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        told = json.loads(note.read_text(encoding="utf-8"))
        digest = str(told.get("sha256"))
        if told == seen | {"sha256": digest, "check": _check(seen, digest)}:
            return digest
    digest = sha256_file(path)
    # A cache folder that cannot be written costs the next start a hash, no more.
    with contextlib.suppress(OSError, RunError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_json(note, seen | {"sha256": digest, "check": _check(seen, digest)})
    return digest


def _check(seen: dict[str, Any], digest: str) -> str:
    return sha256_texts([*map(str, seen.values()), digest])[:16]


def _seal(folder: Path) -> None:
    """Note the size and the digest of every file; the seal is one of what decays, not of what is forged."""
    files = {path.relative_to(folder).as_posix(): [path.stat().st_size, _digest(path)] for path in _files(folder)}
    write_json(folder / CACHE_SEAL, {"files": files, "check": sha256_texts([json.dumps(files)])})


def _damage(folder: Path) -> str | None:
    """What does not agree with the seal of a folder."""
    try:
        seal = json.loads((folder / CACHE_SEAL).read_text(encoding="utf-8"))
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in seal["files"].items()}
        intact = seal["check"] == sha256_texts([json.dumps(seal["files"])])
    except FileNotFoundError:
        return "it has no seal"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        intact, files = False, {}
    if not intact:
        return "its seal cannot be read"
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if odd := sorted(found.keys() ^ files.keys()):
        return f"{odd[0]} is {'not of it' if odd[0] in found else 'missing'}"
    try:
        for name, (size, digest) in files.items():
            if found[name].stat().st_size != size or _digest(found[name]) != digest:
                return f"the bytes of {name} have changed"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir() and path != folder / CACHE_SEAL)


def _digest(path: Path) -> str:
    # 128 bits at the speed of memory: what is verified at every start must cost nothing beside reading it
    from xxhash import xxh3_128

    digest = xxh3_128()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            STOP.poll()
            digest.update(block)
    return digest.hexdigest()
