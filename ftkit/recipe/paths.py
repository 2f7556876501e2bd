"""The files and folders that a recipe names: made absolute, and looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ftkit.recipe.nearest import nearest

_MAX_LISTED = 2000


class Located(NamedTuple):
    """A path of the recipe, resolved.

    Attributes:
        value: the absolute path, or the name as it was.
        message: what is wrong with it, empty when nothing is.
        fix: what to do.
    """

    value: str
    message: str = ""
    fix: str = ""


def absolute(text: str, base: Path) -> str:
    """An absolute path, `~` expanded, relative ones taken from `base`; links are left as they are."""
    return os.path.abspath(base / os.path.expanduser(text))


def absolute_metric(name: str, base: Path) -> str:
    """`evaluate:./mine` with its path made absolute; names of metrics as they are."""
    prefix, _, path = name.partition(":")
    return f"{prefix}:{absolute(path, base)}" if path.startswith((".", "~")) else name


def locate_file(text: str, base: Path) -> Located:
    """Resolve the path of a data file and say when it is not there."""
    path = absolute(text, base)
    if os.path.isfile(path):
        return Located(path)
    if os.path.isdir(path):
        return Located(path, f"{text!r} is a folder", "name a file; a folder of splits is a dataset_name")
    return Located(path, *_absence(text, path))


def locate_name(text: str, base: Path, *, if_file: str) -> Located:
    """Resolve a name that counts as a path when it exists as a folder or starts with `.`, `/` or `~`.

    Args:
        text: folder, hub id, or `builtin:NAME`.
        base: what a relative folder is relative to.
        if_file: what to do where it is a file.
    """
    if text.startswith("builtin:"):
        return Located(text)
    path = absolute(text, base)
    if os.path.isdir(path):
        return Located(path)
    if os.path.isfile(path):
        return Located(path, f"{text!r} is a file", if_file)
    if text.startswith((".", "/", "~")):
        return Located(path, *_absence(text, path))
    return Located(text)


def _absence(text: str, path: str) -> tuple[str, str]:
    """(what is wrong, what to do) about a path with nothing at it."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        return f"no such file or folder: {text!r}", f"there is no folder {folder}"
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_MAX_LISTED), entries, strict=False)]
    except OSError:
        names = []
    near = nearest(name, names) or _same_stem(name, names)
    fix = f"did you mean {near}?" if near else f"looked in {folder}"
    return f"no such file or folder: {text!r}", fix


def _same_stem(name: str, names: list[str]) -> str | None:
    """`train.csv` for `train.tsv` or `train`."""
    stem = name.rpartition(".")[0] or name
    return min((other for other in names if (other.rpartition(".")[0] or other) == stem), default=None)


FILES: Mapping[str, Callable[[str, Path], Located]] = {
    **dict.fromkeys(("data.train_file", "data.validation_file", "data.test_file"), locate_file),
    "evaluation.reference_file": locate_file,
    "model.name_or_path": partial(locate_name, if_file="name the folder that holds it"),
    "data.dataset_name": partial(locate_name, if_file="name a file by train_file"),
}
"""Dotted key of every task -> the path it holds made absolute, relative to a folder, and looked for."""
