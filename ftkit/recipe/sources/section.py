"""One of several sources of examples, as an entry of a list of files names it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from ftkit.methods.section import Section

Quoting = Literal["minimal", "none"]
"""Whether a double quote may open a field that holds delimiters and line ends, or is a letter like any other."""
Delimiter = Annotated[str, Field(min_length=1, max_length=1)]
"""What separates the fields of a row."""


class SourceSpec(Section):
    """A file, or a split of a data set, beside others. Keys of the data section that it gives count for it alone; what
    it leaves out is taken from there.

    Attributes:
        forms: keys of which each says what an example is: where a source gives one, none is taken from the section.
        of_some: keys that are for some forms or files alone: taken from the section by the sources that they fit.
    """

    forms: ClassVar[tuple[str, ...]] = ()
    OWN: ClassVar[frozenset[str]] = frozenset(
        ("file", "dataset_name", "dataset_config_name", "split", "name", "weight")
    )
    """Keys that say where it is, what it is called and how much it counts."""
    of_some: ClassVar[tuple[str, ...]] = ("table", "encoding", "delimiter", "quoting")

    file: str | None = Field(default=None, min_length=1)
    """The file, as train_file names one."""

    dataset_name: str | None = Field(default=None, min_length=1)
    """Instead of a file: a hub data set, a folder, or `builtin:NAME`."""

    dataset_config_name: str | None = None
    """Configuration of that data set."""

    split: str | None = None
    """Split of that data set that is read. Default: train."""

    name: str | None = Field(default=None, pattern=r"\S")
    """What its metrics are called by; a held-out source is read as the training source of that name. Default: the name
    of the file, or of the data set."""

    weight: float | None = Field(default=None, gt=0)
    """Of the training set: its share of the examples of an epoch, beside the weights of the others. All sources have
    one, or none: then every example is learnt once an epoch."""

    table: str | None = Field(default=None, min_length=1)
    encoding: str | None = None
    delimiter: Delimiter | None = None
    quoting: Quoting | None = None
    text_column: str | None = None

    @model_serializer(mode="wrap")
    def _what_is_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is left out is no value: the data section has it."""
        values: dict[str, Any] = serialize(self)
        return {key: value for key, value in values.items() if key in self.model_fields_set}

    @property
    def given(self) -> dict[str, Any]:
        """The keys of the data section that it gives, with their values."""
        keys = type(self).model_fields.keys() - SourceSpec.OWN
        return {key: getattr(self, key) for key in type(self).model_fields if key in keys & self.model_fields_set}


Files = str | Annotated[Sequence[str | SourceSpec], Field(min_length=1)] | None
"""A file, or several sources."""


def entries_of(files: Files, kind: type[SourceSpec]) -> list[SourceSpec]:
    """The entries of a list of sources, a path as one of its own; none where there is no list."""
    if files is None or isinstance(files, str):
        return []
    return [kind(file=entry) if isinstance(entry, str) else entry for entry in files]


def names_of(entries: Sequence[SourceSpec]) -> list[str]:
    """What each source is called: as it says, else as its file or data set; each name once.

    Example:
        >>> names_of([SourceSpec(file="a/rows.csv"), SourceSpec(file="b/rows.csv"), SourceSpec(name="x", file="y")])
        ['a/rows', 'b/rows', 'x']
    """
    stems = [_stem(entry) for entry in entries]
    named = [
        entry.name or (_with_folder(entry, stem) if stems.count(stem) > 1 else stem)
        for entry, stem in zip(entries, stems, strict=True)
    ]
    return [name if name not in named[:place] else f"{name}-{place + 1}" for place, name in enumerate(named)]


def _stem(entry: SourceSpec) -> str:
    if entry.file is None:
        return os.path.basename((entry.dataset_name or "").removeprefix("builtin:").rstrip("/"))
    return os.path.basename(entry.file.rstrip("/")).partition(".")[0] or entry.file


def _with_folder(entry: SourceSpec, stem: str) -> str:
    folder = os.path.basename(os.path.dirname((entry.file or entry.dataset_name or "").rstrip("/")))
    return f"{folder}/{stem}" if folder else stem
