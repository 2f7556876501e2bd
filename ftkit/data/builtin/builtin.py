"""Data sets that need no download: real text from the running Python's own sources, and commands made by rules.

The standard library's modules are parsed with `ast` and never imported. What comes out depends on the Python version
(its licence, PSF, covers the texts) and on nothing else; it is kept in the cache folder. Naming and describing the
data sets costs no import of pyarrow or numpy: `ftkit builtin` does it.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.cache import build_once, cache_root
from ftkit.data.columns.names import listing
from ftkit.data.reading.rows import BadRow, Row
from ftkit.errors import UserError
from ftkit.recipe.data_section import SPLIT_NAMES
from ftkit.storage import write_json

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = 2
"""Raised when the making changes, so that what an older ftkit left in the cache is not taken for it."""
_COUNTS = "rows.json"
"""Beside the tables: rows by split, to be told without opening a table."""


@dataclass(frozen=True)
class BuiltinData:
    """One data set; all its columns are strings.

    Attributes:
        key_column: the column that decides a row's split, so that equal texts share one.
        rows: rows with Python 3.11; other versions differ a little.
    """

    name: str
    description: str
    columns: tuple[str, ...]
    key_column: str
    rows: int

    @property
    def folder(self) -> str:
        """Its folder below the cache."""
        python = f"{platform.python_implementation().lower()}-{platform.python_version()}"
        return f"builtin-data/{self.name}-{_VERSION}-{python}"


BUILTIN_DATA: dict[str, BuiltinData] = {
    data.name: data
    for data in (
        BuiltinData(
            "docstrings",
            "classification: first sentence of a docstring -> the module it comes from, 12 modules",
            ("text", "label"),
            "text",
            2645,
        ),
        BuiltinData(
            "signatures",
            "seq2seq: a function's signature -> first sentence of its docstring",
            ("source", "target"),
            "target",
            5911,
        ),
        BuiltinData(
            "pydoc",
            "language modelling: sections of the Python reference, as `help()` prints them",
            ("text",),
            "text",
            166,
        ),
        BuiltinData(
            "commands",
            "seq2seq: commands for a crane -> its actions, in seven conventions that each source names",
            ("source", "target", "command"),
            "command",
            16_800,
        ),
        BuiltinData(
            "commands-new",
            "seq2seq: other such commands in an eighth convention, which nothing names",
            ("source", "target"),
            "source",
            2_000,
        ),
    )
}
"""Name -> data set."""


@dataclass(frozen=True)
class BuiltinDataInfo:
    """What `ftkit builtin` shows; rows are exact when the data set is `ready` already, else those with Python 3.11."""

    name: str
    description: str
    rows: int
    ready: bool
    state: str


def describe_builtin_data() -> list[BuiltinDataInfo]:
    """Every built-in data set, without making any."""
    infos = []
    for data in BUILTIN_DATA.values():
        counts = cache_root() / data.folder / _COUNTS
        made = counts.is_file()
        rows = sum(json.loads(counts.read_text(encoding="utf-8")).values()) if made else data.rows
        state = "cached" if made else "made on first use"
        infos.append(BuiltinDataInfo(f"builtin:{data.name}", data.description, rows, made, state))
    return infos


def load_builtin(name: str) -> dict[str, pa.Table]:
    """The tables of a data set by split (train, validation, test: about 80, 10 and 10 %), made on first use (3 s).

    Raises:
        UserError: no such name, or this Python came without its sources.
    """
    import pyarrow.parquet as pq

    return {split: pq.read_table(path) for split, path in _files(name).items()}


def builtin_rows(name: str) -> dict[str, Callable[[], Iterator[Row | BadRow]]]:
    """The same as functions that read a split row by row."""
    from ftkit.data.reading.arrow_rows import iter_parquet

    return {split: partial(iter_parquet, path) for split, path in _files(name).items()}


def _files(name: str) -> dict[str, Path]:
    if name not in BUILTIN_DATA:
        raise UserError(f"no built-in data set {name}", fix=f"there are {listing(list(BUILTIN_DATA))}")
    data = BUILTIN_DATA[name]
    folder = build_once(data.folder, partial(_build, data))
    return {split: folder / f"{split}.parquet" for split in SPLIT_NAMES}


def _build(data: BuiltinData, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ftkit.data.builtin import commands, stdlib_text
    from ftkit.data.dataset import strings
    from ftkit.data.duplicates import key_of

    make: dict[str, Callable[[], list[tuple[str, ...]]]] = {
        "docstrings": stdlib_text.docstring_rows,
        "signatures": stdlib_text.signature_rows,
        "pydoc": stdlib_text.pydoc_rows,
        "commands": commands.command_rows,
        "commands-new": commands.new_convention_rows,
    }
    rows = make[data.name]()
    key = data.columns.index(data.key_column)
    splits = [_split_of(key_of(row[key])) for row in rows]
    for split in SPLIT_NAMES:
        chosen = [row for row, name in zip(rows, splits, strict=True) if name == split]
        columns = [strings([row[index] for row in chosen]) for index in range(len(data.columns))]
        pq.write_table(pa.Table.from_arrays(columns, names=list(data.columns)), folder / f"{split}.parquet")
    write_json(folder / _COUNTS, dict(Counter(splits)))


def _split_of(text_key: int) -> str:
    share = text_key % 10
    return "validation" if share == 8 else "test" if share == 9 else "train"
