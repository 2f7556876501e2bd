"""What the data room hands out: splits of texts, with labels where the task has them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from ftkit.data.duplicates import lookalike_keys, prompt_keys, text_columns, text_keys
from ftkit.data.prompting import Prompting
from ftkit.storage import sha256_texts

SOURCE_COLUMN = "source_number"
"""Column of a table whose rows are of several sources: the number (int32) of each row's."""
LINE_COLUMN = "line_number"
"""Column of a table (int32): the line of each row in its file, or its number there from 1 where there are no lines."""
ABOUT_ROWS = (SOURCE_COLUMN, LINE_COLUMN)
"""Columns of a table that tell where its rows are from, and are no part of an example."""
LANGUAGE_COLUMNS = ("source_language", "target_language")
"""Columns of a table whose rows name the languages of their two sides."""
BATCH_ROWS, BATCH_CHARACTERS = 10_000, 1 << 26
"""Rows, and characters, of which an array is made at once: as many as one of strings can hold."""


@dataclass(frozen=True)
class Split:
    """The rows of one split (train, validation or test), in the order of their file.

    Attributes:
        table: strings and labels. Classification: text, text_pair (only for tasks on pairs), label (int32: index
            into the label names). Language models, by the kind of their prompting: text; prompt and completion;
            messages (a JSON list of objects with role and content). Sources and targets: prompt and completion, and in
            all splits or none references (a JSON list of texts that are right) or label, and the two languages. Where
            rows are of several sources, the number of each row's; a column that a source lacks is null in its rows.
            Rows that were read have their lines.
        source: where the rows came from, for people: a path, `builtin:docstrings`, or what it was split from.
        source_names: of source 0, 1, ...; none where there is one source.
    """

    name: str
    table: pa.Table
    source: str
    source_names: tuple[str, ...] = ()

    @classmethod
    def of_rows(cls, name: str, rows: Sequence[Mapping[str, str]]) -> Split:
        """A split of some rows that stand in memory."""
        return cls(name, pa.Table.from_pylist([dict(row) for row in rows]), "memory")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def with_table(self, table: pa.Table) -> Split:
        """The same split with other rows."""
        return replace(self, table=table)

    @cached_property
    def source_numbers(self) -> np.ndarray | None:
        """The number of each row's source (N,), int64; None where there is one source."""
        return to_int64(self.table.column(SOURCE_COLUMN)) if self.source_names else None

    def place(self, row: int) -> str:
        """Where a row was read: `line 12`, of which source where there are several; empty where that is not known."""
        if LINE_COLUMN not in self.table.column_names:
            return ""
        line = f"line {self.table[LINE_COLUMN][row].as_py():,}"
        return line if self.source_numbers is None else f"{line} of {self.source_names[self.source_numbers[row]]}"

    def by_source(self) -> Iterator[tuple[int, np.ndarray, Split]]:
        """Each source that has rows: its number, the numbers of its rows (n,), and these alone, as it has them."""
        if self.source_numbers is None:
            yield 0, np.arange(len(self)), self
            return
        for number in np.unique(self.source_numbers).tolist():
            rows = np.flatnonzero(self.source_numbers == number)
            table = self.table.take(rows).drop_columns(SOURCE_COLUMN)
            lacked = [name for name in table.column_names if table[name].null_count]
            yield number, rows, Split(self.name, table.drop_columns(lacked), self.source_names[number])

    def by_form(self) -> Iterator[tuple[np.ndarray, Split]]:
        """Rows with the same columns: their numbers (n,), and these alone; all at once where there is one form."""
        lacking = [name for name in self.table.column_names if self.table[name].null_count]
        if not lacking:
            yield np.arange(len(self)), self
            return
        forms: dict[tuple[str, ...], list[np.ndarray]] = {}
        for _, rows, part in self.by_source():
            forms.setdefault(tuple(part.table.column_names), []).append(rows)
        for names, parts in forms.items():
            rows = np.concatenate(parts)
            yield rows, replace(self, table=self.table.take(rows).select([*names, SOURCE_COLUMN]))

    def _of_each_form(self, values: Callable[[pa.Table], np.ndarray]) -> np.ndarray:
        """What a function gives each row's texts (N,)."""
        found = np.empty(len(self), dtype=np.uint64)
        for rows, part in self.by_form():
            found[rows] = values(part.table)
        return found

    def columns(self, *names: str) -> Iterator[list[list[str]]]:
        """The texts of some columns, 5,000 rows at a time."""
        for batch in self.table.select(list(names)).to_batches(max_chunksize=5_000):
            yield [batch.column(name).to_pylist() for name in names]

    @property
    def texts(self) -> list[str]:
        """The texts, as Python strings."""
        texts: list[str] = self.table.column("text").to_pylist()
        return texts

    @property
    def text_pairs(self) -> list[str] | None:
        """The second texts, None when the task is on single texts."""
        if "text_pair" not in self.table.column_names:
            return None
        second: list[str] = self.table.column("text_pair").to_pylist()
        return second

    @property
    def joined_texts(self) -> list[str]:
        """The text of each row, two of them on lines of their own."""
        second = self.text_pairs
        return self.texts if second is None else [f"{a}\n{b}" for a, b in zip(self.texts, second, strict=True)]

    def languages(self, *, targets: bool) -> list[str] | None:
        """The language of each source, or target; None where rows do not name theirs."""
        name = LANGUAGE_COLUMNS[targets]
        if name not in self.table.column_names:
            return None
        codes: list[str] = self.table.column(name).to_pylist()
        return codes

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels (N,), int64."""
        return to_int64(self.table.column("label"))

    @cached_property
    def strata(self) -> np.ndarray:
        """What is spread evenly over parts of the rows (N,), int64: labels, of several sources those of each."""
        labels = self.labels if "label" in self.table.column_names else np.zeros(len(self), dtype=np.int64)
        return labels if self.source_numbers is None else labels * len(self.source_names) + self.source_numbers

    @cached_property
    def keys(self) -> np.ndarray:
        """One uint64 a row (N,): equal for rows whose texts are equal but for case, spacing and Unicode form."""
        return self._of_each_form(text_keys)

    @cached_property
    def lookalike_keys(self) -> np.ndarray:
        """The same (N,) for texts that differ in punctuation and numbers as well."""
        return self._of_each_form(lookalike_keys)

    @cached_property
    def prompt_keys(self) -> np.ndarray:
        """The same (N,) for what a language model is given: the prompt, or a chat up to the first answer."""
        return self._of_each_form(lambda table: (text_keys if "text" in table.column_names else prompt_keys)(table))

    @cached_property
    def inputs_hash(self) -> str:
        """SHA-256 over what goes in and, where it is a text, what comes out, in order."""
        columns = [self.table[name] for name in text_columns(self.table)]
        texts = (text or "" for column in columns for chunk in column.chunks for text in chunk.to_pylist())
        return sha256_texts(itertools.chain([str(len(columns))], texts))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over these, labels and sources, where there are any, in order."""
        labels = self.labels.tobytes() if "label" in self.table.column_names else b""
        sources = b"" if self.source_numbers is None else self.source_numbers.tobytes()
        return hashlib.sha256(self.inputs_hash.encode() + labels + sources).hexdigest()


@dataclass(frozen=True)
class SkippedRow:
    """A row left out because of data.on_bad_row: skip; its line is a row number where the format has no lines."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class Splits:
    """The data of a run.

    Attributes:
        label_names: name of label 0, 1, ...; none for language models.
        notes: what was assumed, found or split off, one sentence each, for the user.
        prompting: how rows become what a language model reads; None for the other tasks. Of several sources that of the
            first, in which the model is asked.
        promptings: of source 0, 1, ...; none where there is one source.
        weights: of source 0, 1, ... in an epoch; none where every example is learnt once.
        found: keys of the data section that nobody gave a value -> what was found for them.
        folds: of the training rows (N,), 0 to F - 1, where these are the validation rows too, to be scored out of fold.
    """

    train: Split
    validation: Split
    test: Split | None
    label_names: tuple[str, ...]
    notes: tuple[str, ...]
    skipped: tuple[SkippedRow, ...]
    prompting: Prompting | None = None
    promptings: tuple[Prompting, ...] = ()
    weights: tuple[float, ...] = ()
    found: Mapping[str, object] = field(default_factory=dict)
    folds: np.ndarray | None = None

    def all(self) -> tuple[Split, ...]:
        """The splits that have rows, train first."""
        return tuple(split for split in (self.train, self.validation, self.test) if split is not None and len(split))

    @property
    def holds_out(self) -> bool:
        """Whether there are validation rows; without any the split is empty (data.validation_size: 0)."""
        return len(self.validation) > 0

    def prompting_of(self, number: int) -> Prompting:
        """How the rows of a source become what a language model reads."""
        found = self.promptings[number] if self.promptings else self.prompting
        assert found is not None, "the data room says how examples are written"
        return found

    def is_out_of_fold(self, name: str) -> bool:
        """Whether the rows of a split are training rows, each to be scored by a model that did not learn from it."""
        return name == "validation" and self.folds is not None

    def apart(self) -> tuple[Split, ...]:
        """Those that have rows of their own, train first."""
        return tuple(split for split in self.all() if not self.is_out_of_fold(split.name))


def strings(texts: Sequence[str]) -> pa.Array:
    """A string array (N,) of texts, at most 2 GiB of UTF-8 in all."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum([len(data) for data in encoded], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def integers(values: np.ndarray) -> pa.Array:
    """An int32 array (N,)."""
    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values, np.int32))])


def booleans(values: np.ndarray) -> pa.Array:
    """A boolean array (N,)."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def to_int64(column: pa.ChunkedArray) -> np.ndarray:
    """The values (N,) of an integer column without nulls."""
    parts = []
    for chunk in column.chunks:
        width = {pa.int32(): np.int32, pa.int64(): np.int64}[chunk.type]
        values = np.frombuffer(chunk.buffers()[1] or b"", dtype=width)
        parts.append(values[chunk.offset : chunk.offset + len(chunk)].astype(np.int64))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
