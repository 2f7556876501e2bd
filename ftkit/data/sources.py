"""From the `data` part of a recipe to one source of rows for each split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ftkit.data.columns.names import USUAL_NAMES, listing
from ftkit.data.gather import Source
from ftkit.data.reading.arrow_rows import class_names
from ftkit.data.reading.documents import iter_documents
from ftkit.data.reading.files import file_format, iter_rows
from ftkit.data.reading.folders.classes import loose_files
from ftkit.data.reading.folders.splits import PART, find_in_folder, iter_parts
from ftkit.data.reading.paths import check_readable, shown_path
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.reading.urls import local_file
from ftkit.errors import UserError
from ftkit.recipe.data_section import SPLIT_NAMES, DataSpec


def find_sources(spec: DataSpec, *, documents: bool = False) -> tuple[dict[str, Source], list[str]]:
    """Sources by split (train always, validation and test where there are any), and notes on how they were found.

    With `documents` a row of a text file is a document and not a line.

    Raises:
        UserError: nothing or two things named, no such file, folder or data set, no training split.
    """
    files = {split: getattr(spec, f"{split}_file") for split in SPLIT_NAMES}
    if spec.dataset_name is not None:
        if named := [f"data.{split}_file" for split, file in files.items() if file]:
            raise UserError(f"both data.dataset_name and {', '.join(named)} are set", fix="keep one of the two ways")
        return _from_data_set(spec, spec.dataset_name, documents=documents)
    if files["train"] is None:
        raise UserError("no training data is named", fix="set data.train_file or data.dataset_name")
    notes: list[str] = []
    named_files = {split: local_file(file, notes) for split, file in files.items() if isinstance(file, str)}
    return {split: file_source([path], spec, documents, notes, split) for split, path in named_files.items()}, notes


def file_source(paths: Sequence[Path], spec: DataSpec, documents: bool, notes: list[str], split: str) -> Source:
    """The source of a split that lies in a file, in several parts of one, or in a folder of classes.

    Notes are added on files beside the classes.
    """
    path = paths[0]
    kind = file_format(path)
    if kind != "folder":
        check_readable(path)
    elif beside := loose_files(path):
        notes.append(f"files of {shown_path(path)} that are of no class: {listing(beside)}")
    classes = class_names(path) if kind in ("parquet", "arrow") else {}
    read: Callable[[Path], Iterator[Row | BadRow]]
    if documents and kind == "text":
        read = partial(iter_documents, encoding=spec.encoding, separator=spec.separator())
    else:
        read = partial(
            iter_rows,
            encoding=spec.encoding,
            delimiter=spec.delimiter,
            quotes=spec.quoting != "none",
            table=spec.table,
        )
    if len(paths) == 1:
        return Source(split, shown_path(path), partial(read, path), classes)
    return Source(split, shown_path(path.parent / PART.sub("-*", path.name)), partial(iter_parts, paths, read), classes)


def _from_data_set(spec: DataSpec, name: str, *, documents: bool) -> tuple[dict[str, Source], list[str]]:
    notes: list[str] = []
    if name.startswith("builtin:"):
        from ftkit.data.builtin.builtin import builtin_rows

        available = builtin_rows(name.removeprefix("builtin:"))
        makers: dict[str, Callable[[str], Source]] = {
            split: partial(_renamed, Source(split, f"{name}[{split}]", rows)) for split, rows in available.items()
        }
    elif Path(name).is_dir():
        found = find_in_folder(Path(name), spec.dataset_config_name, notes)
        makers = {split: partial(file_source, files, spec, documents, notes) for split, files in found.items()}
    elif Path(name).is_file():
        raise UserError("is a file, not a data set", where=name, fix="name it in data.train_file")
    elif name.startswith((".", "~")) or os.path.isabs(name):
        raise UserError("no such folder", where=name, fix="check the path in data.dataset_name")
    else:
        from ftkit.data.reading.hub import hub_rows

        makers = {
            split: partial(_renamed, source) for split, source in hub_rows(name, spec.dataset_config_name).items()
        }
    return _pick(makers, spec, name, notes), notes


def _renamed(source: Source, split: str) -> Source:
    return Source(split, source.name, source.rows, source.class_names)


def _pick(
    makers: Mapping[str, Callable[[str], Source]], spec: DataSpec, name: str, notes: list[str]
) -> dict[str, Source]:
    present = list(makers)
    chosen: dict[str, str] = {"train": spec.train_split}
    for split, stated in (("validation", spec.validation_split), ("test", spec.test_split)):
        found = stated or next((candidate for candidate in USUAL_NAMES[split] if candidate in present), None)
        if found is not None:
            chosen[split] = found
    for split, wanted in chosen.items():
        if wanted not in present:
            raise UserError(
                f"no split {wanted} (data.{split}_split)",
                where=name,
                fix=f"splits here: {listing(present) or '(none)'}",
            )
    unused = [split for split in present if split not in chosen.values()]
    if unused:
        notes.append(f"splits of {name} that are not used: {listing(unused)}")
    return {split: replace(makers[wanted](split), called=wanted) for split, wanted in chosen.items()}
