"""A folder that holds splits: files named after them, or what `Dataset.save_to_disk` wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ftkit.data.reading.files import FORMATS
from ftkit.data.reading.folders.cards import declared_files
from ftkit.data.reading.folders.classes import class_folders
from ftkit.data.reading.paths import shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.errors import UserError
from ftkit.recipe.files import ending

_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
PART = re.compile(r"-\d{5}-of-\d{5}")
"""What tells the parts of one split apart in their names."""


def find_in_folder(folder: Path, config: str | None, notes: list[str]) -> dict[str, list[Path]]:
    """The files of each split of a folder; notes are added on files that are none.

    What its README.md says, as in a clone of a hub data set; else sub-folders that are called after splits, with files
    or with classes in them; else files, here or in `data/`. A file belongs to the split whose name is a word of the
    file's: `train.csv`, `my-dev.jsonl.gz`, `test-00000-of-00002.parquet`. Every file of a known format must have its
    place, since one that is left out in silence is worse than an error.

    Raises:
        UserError: no data, no training file, a file that names no split, or two files for one split.
    """
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _saved(folder)
    if (declared := declared_files(folder, config)) is not None:
        return declared
    files = _data_files(folder)
    if below := _split_folders(folder):
        if files:
            notes.append(f"files of {shown_path(folder)} that are not read: {', '.join(path.name for path in files)}")
        return _with_train(folder, below)
    if not files and (folder / "data").is_dir():
        files = _data_files(folder / "data")
    if not files:
        raise UserError(
            "the folder holds no data files", where=shown_path(folder), fix=f"put train{'|'.join(FORMATS)} there"
        )
    splits: dict[str, list[Path]] = {}
    for path in files:
        named = {_WORDS[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in _WORDS}
        if len(named) != 1:
            raise UserError(
                f"{path.name} is of no split by its name" if not named else f"{path.name} is of two splits by its name",
                where=shown_path(folder),
                fix="name each file after its split (train.csv, validation.csv, test.csv), move it elsewhere, or name"
                " the files in data.train_file, data.validation_file and data.test_file",
            )
        splits.setdefault(named.pop(), []).append(path)
    for split, paths in splits.items():
        _check_parts(folder, split, paths)
    return _with_train(folder, splits)


def _data_files(folder: Path) -> list[Path]:
    # a database that lies about is rarely a split
    passed = (None, "sqlite")
    return sorted(path for path in folder.iterdir() if path.is_file() and FORMATS.get(ending(path.name)) not in passed)


def _split_folders(folder: Path) -> dict[str, list[Path]]:
    """Sub-folders that are called after splits: one of classes is itself, the files of others are its parts."""
    splits: dict[str, list[Path]] = {}
    for path in class_folders(folder):
        split = _WORDS.get(path.name.lower())
        found = _data_files(path) if split else []
        if split is None or not (found or class_folders(path)):
            continue
        parts = [path] if class_folders(path) else found
        if split in splits or len({ending(part.name) for part in parts}) > 1:
            names = ", ".join(str(part.relative_to(folder)) for part in [*splits.get(split, []), *parts][:6])
            fix = f"name one of them in data.{split}_file"
            raise UserError(f"more than one {split} set: {names}", where=shown_path(folder), fix=fix)
        splits[split] = parts
    return splits


def _with_train(folder: Path, splits: dict[str, list[Path]]) -> dict[str, list[Path]]:
    if "train" not in splits:
        names = ", ".join(path.name for paths in splits.values() for path in paths)
        raise UserError(f"no training file among {names}", where=shown_path(folder), fix="name one of them train")
    return splits


def _check_parts(folder: Path, split: str, paths: Sequence[Path]) -> None:
    if len(paths) > 1 and len({PART.sub("", path.name) for path in paths}) > 1:
        names = ", ".join(path.name for path in paths)
        raise UserError(
            f"more than one {split} file: {names}",
            where=shown_path(folder),
            fix=f"keep one of them, or name it in data.{split}_file",
        )


def _saved(folder: Path) -> dict[str, list[Path]]:
    """Splits of a save_to_disk folder; its Arrow files are listed in each split's state.json."""
    try:
        if (folder / "state.json").is_file():
            return {"train": _saved_files(folder)}
        names = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        return {name: _saved_files(folder / name) for name in names}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"a folder of Dataset.save_to_disk that is not whole: {error}",
            where=shown_path(folder),
            fix="save it again",
        ) from error


def _saved_files(folder: Path) -> list[Path]:
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return [folder / entry["filename"] for entry in state["_data_files"]]


def iter_parts(paths: Sequence[Path], read: Callable[[Path], Iterator[Row | BadRow]]) -> Iterator[Row | BadRow]:
    """The rows of several files, one after the other; the reason of a bad row names its file."""
    for path in paths:
        for row in read(path):
            yield row if isinstance(row, Row) else BadRow(row.line, f"({path.name}) {row.reason}", row.fix)
