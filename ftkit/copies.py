"""Files of a folder that somebody else may have made, copied: what lies in it, and nothing that it leads to."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ftkit.errors import UserError
from ftkit.interruption import STOP
from ftkit.storage import BLOCK_BYTES, StrPath


def copy_folder(home: Path, target: Path, *, leave_out: Iterable[str] = ()) -> None:
    """Copy a folder into one that may be there.

    Args:
        home: the folder.
        target: its copy.
        leave_out: patterns of names that stay behind.

    Raises:
        UserError: something in it leads elsewhere, or is no ordinary file.
    """
    for path in home.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            _refuse_leading_out(path, home)
    shutil.copytree(
        home, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*leave_out), copy_function=_copy_file
    )


def copy_files(home: Path, names: Iterable[str], target: Path) -> None:
    """Copy the files of a folder that have one of the names into another; names of nothing are passed over.

    Raises:
        UserError: one leads elsewhere, or is no ordinary file.
    """
    for name in names:
        if (home / name).exists():
            _refuse_leading_out(home / name, home)
            _copy_file(home / name, target / name)


def _refuse_leading_out(path: Path, home: Path) -> None:
    """Refuse a link to elsewhere, a loop of folders, a pipe or a device; the hub's cache links to its blobs."""
    whole = home.resolve()
    found = path.resolve()
    if not found.is_file():
        raise UserError(f"{path.relative_to(home)} is no ordinary file, and is not copied", where=str(path))
    # models--x/snapshots/revision/file -> models--x/blobs/digest
    if not any(found.is_relative_to(place) for place in (whole, whole.parent.parent / "blobs")):
        raise UserError(
            f"{path.relative_to(home)} is a link to {found}, outside of its folder, and is not copied",
            where=str(path),
            fix="put the file itself there, if it belongs to the model",
        )


def _copy_file(source: StrPath, target: StrPath) -> StrPath:
    with open(source, "rb", buffering=0) as there, open(target, "wb") as here:
        while block := there.read(BLOCK_BYTES):
            STOP.poll()
            here.write(block)
    return target
