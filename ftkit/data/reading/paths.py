"""Paths of data files: looked at, and as messages name them."""

from __future__ import annotations

import difflib
from pathlib import Path

from ftkit.errors import UserError

_LFS = b"version https://git-lfs.github.com/spec/"


def check_readable(path: Path) -> None:
    """Raise UserError unless `path` is a file that can be opened."""
    if path.is_dir():
        raise UserError(
            "is a folder, not a file",
            where=shown_path(path),
            fix="name a file, or name the folder in data.dataset_name",
        )
    if not path.exists():
        names = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        folder = "" if path.parent.is_dir() else f"; there is no folder {path.parent} either"
        raise UserError(
            "no such file",
            where=shown_path(path),
            fix=f"did you mean {near[0]}?" if near else f"check the path{folder}",
        )
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(_LFS)) == _LFS
    except OSError as error:
        raise UserError(
            f"cannot be opened: {error.strerror}", where=shown_path(path), fix="check its permissions"
        ) from error
    if is_pointer:
        raise UserError("it is a mere pointer of Git LFS", where=shown_path(path), fix="git lfs pull brings the file")


def shown_path(path: Path) -> str:
    """A path as messages name it: relative when it is below the working directory."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
