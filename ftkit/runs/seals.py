"""The seal of a folder: a manifest, written last, that says which bytes make it whole.

A checkpoint counts only when its `MANIFEST.json` verifies. Every file and the folder itself are on the disk before the
manifest is, so a manifest that is there speaks of files that were whole; its hashes notice what happened to them later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.storage import sha256_file, sync_folder, sync_tree, write_json

SEAL_FILE = "MANIFEST.json"
SEAL_FORMAT = 1
"""Layout version of the manifest, written into it."""


class BrokenSeal(Exception):
    """A folder that does not count; the message says why."""


@dataclass(frozen=True)
class Seal:
    """What a manifest says: what the sealed state is of; and of every file, by its path inside, bytes and SHA-256."""

    facts: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]


def seal_folder(folder: Path, facts: Mapping[str, Any]) -> None:
    """Seal a folder without symbolic links as it is; a seal that it had is replaced."""
    (folder / SEAL_FILE).unlink(missing_ok=True)
    sync_tree(folder)
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in _files(folder)
    }
    write_json(folder / SEAL_FILE, {"ftkit_seal_format": SEAL_FORMAT, "facts": facts, "files": files})
    sync_folder(folder)


def read_seal(folder: Path) -> Seal:
    """The seal of a folder, verified: every file is there, has its size and its hash, and there is no other.

    Raises:
        BrokenSeal: it has none, or something does not agree with it.
    """
    try:
        written = json.loads((folder / SEAL_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BrokenSeal(f"it has no {SEAL_FILE}, so it was not written to its end") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenSeal(f"{SEAL_FILE} cannot be read ({error})") from None
    seal = _parse(written)
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if missing := sorted(set(seal.files) - set(found)):
        raise BrokenSeal(f"{missing[0]} is missing")
    if more := sorted(set(found) - set(seal.files)):
        raise BrokenSeal(f"{more[0]} is not in its {SEAL_FILE}")
    for name, entry in seal.files.items():
        if (size := found[name].stat().st_size) != entry["bytes"]:
            raise BrokenSeal(f"{name} has {size:,} bytes instead of {entry['bytes']:,}")
    # sizes first: they cost nothing, and hashing gigabytes does
    for name, entry in seal.files.items():
        if sha256_file(found[name]) != entry["sha256"]:
            raise BrokenSeal(f"the bytes of {name} have changed")
    return seal


def _parse(written: Any) -> Seal:
    try:
        if written["ftkit_seal_format"] != SEAL_FORMAT:
            raise BrokenSeal(f"{SEAL_FILE} has format {written['ftkit_seal_format']!r}, not {SEAL_FORMAT}")
        files = {
            str(name): {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
            for name, entry in written["files"].items()
        }
        return Seal(dict(written["facts"]), files)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BrokenSeal(f"{SEAL_FILE} does not say what it should") from None


def _files(folder: Path) -> list[Path]:
    """Every file of a folder but its seal, in the order of their names.

    Raises:
        BrokenSeal: one is a symbolic link, which could lead anywhere.
    """
    found = sorted(folder.rglob("*"))
    for path in found:
        if path.is_symlink():
            raise BrokenSeal(f"{path.relative_to(folder)} is a symbolic link")
    return [path for path in found if path.is_file() and path != folder / SEAL_FILE]
