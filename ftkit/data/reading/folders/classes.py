"""A folder with a sub-folder a class, and a text a file: `pos/1.txt`, as aclImdb and 20 newsgroups have it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from ftkit.data.reading.documents import iter_documents
from ftkit.data.reading.paths import shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.errors import UserError


def class_folders(folder: Path) -> list[Path]:
    """The sub-folders that may be classes, sorted; hidden ones are none."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def loose_files(folder: Path) -> list[str]:
    """Names of the files beside the classes, sorted; hidden ones left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def iter_class_folder(folder: Path, *, encoding: str) -> Iterator[Row | BadRow]:
    """Rows with the columns `text`, `label` (the sub-folder's name) and `file`, from each class in turn.

    `line` is the row's number, from 1; the line breaks at the end of a text are left out. Hidden files are passed over.

    Raises:
        UserError: no file at all, or folders within the classes.
    """
    files = [_files(path) for path in class_folders(folder)]
    if not any(files):
        raise UserError("there is no text in its folders", where=shown_path(folder), fix="write a file a text there")
    # in turn, so that the first rows show every class
    in_turn = (path for paths in zip_longest(*files) for path in paths if path is not None)
    for number, path in enumerate(in_turn, 1):
        yield _row(number, path, encoding)


def _files(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if inner := next((path for path in paths if path.is_dir()), None):
        raise UserError(
            "a folder within a class", where=shown_path(inner), fix="a class is a folder of text files, and no more"
        )
    return paths


def _row(number: int, path: Path, encoding: str) -> Row | BadRow:
    name = f"{path.parent.name}/{path.name}"
    try:
        (found,) = iter_documents(path, encoding=encoding, separator=None)
    except UserError as error:
        found = BadRow(number, error.problem, error.fix or "remove it")
    if isinstance(found, BadRow):
        return BadRow(number, f"({name}) {found.reason}", found.fix)
    text = str(found.values["text"]).rstrip("\n")
    return Row(number, {"text": text, "label": path.parent.name, "file": name})
