"""The `data` part of a recipe to splits of texts, completions or chats, for a language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from ftkit.data.chat_rows import Unusable
from ftkit.data.columns.names import SAMPLE_ROWS
from ftkit.data.dataset import BATCH_CHARACTERS, BATCH_ROWS, Split, Splits, strings
from ftkit.data.form import Form, Record
from ftkit.data.gather import Source, note_skipped, refuse_bad_rows, skipped_rows, told_with
from ftkit.data.prompting import check_fields
from ftkit.data.reading.nested import names_within
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.repeats import without_repeats
from ftkit.data.split import limited, with_validation
from ftkit.errors import UserError
from ftkit.recipe.data_section import SPLIT_NAMES, DataSpec

ChooseForm = Callable[..., Form]
"""(rows, spec, *, where, notes) -> what an example is."""


def read_splits(
    sources: Mapping[str, Source], forms: Mapping[str, Form], spec: DataSpec, *, seed: int, notes: list[str]
) -> Splits:
    """Read every source to its end, and make examples of its rows.

    Args:
        sources: train, and validation and test where there are any.
        forms: for each of them, what an example is; their tables and prompting are the same.
        spec, seed: as for `load_splits`.
        notes: what was assumed so far; what is found now is added.
    """
    form = forms["train"]
    splits: dict[str, Split] = {}
    skipped = []
    for name in SPLIT_NAMES:
        if name not in sources:
            continue
        found = _read(sources[name], forms[name], spec, notes)
        skipped.extend(skipped_rows(found.source, found.bad))
        if name == "train" and spec.separator() is not None and found.num_rows == 1:
            notes.append(
                f"warning: data.document_separator, {spec.separator()!r}, occurs nowhere between texts of "
                f"{found.source.name}: it is one document"
            )
        if found.num_rows:
            table = pa.Table.from_batches(found.batches, schema=form.schema)
            splits[name] = Split(name, table, found.source.name)
    _note_chats(form, notes)
    if "validation" not in splits:
        splits |= with_validation(splits["train"], form.prompting.kind, spec, seed, notes)
    if spec.drop_duplicates:
        splits = without_repeats(splits, notes)
    splits = {name: limited(split, spec, seed=seed, notes=notes) for name, split in splits.items()}
    return Splits(
        splits["train"], splits["validation"], splits.get("test"), (), tuple(notes), tuple(skipped), form.prompting
    )


def form_of(source: Source, spec: DataSpec, notes: list[str], choose: ChooseForm) -> Form:
    """What an example is, by the first rows of the training set.

    Args:
        source: of the training set.
        spec: the recipe's.
        notes: what was assumed is added here.
        choose: (rows, spec, *, where, notes) -> form.

    Raises:
        UserError: there is no row that can be read, or none of the forms fits.
    """
    first = first_rows(source)
    rows = [row.values for row in first if isinstance(row, Row)]
    bad = [row for row in first if isinstance(row, BadRow)]
    if not rows:
        refuse_bad_rows(source, bad, usable=0)
        raise _empty(source)
    try:
        return choose(rows, spec, where=source.name, notes=notes)
    except UserError as error:
        raise told_with(error, source, next(iter(bad), None)) from None


def first_rows(source: Source) -> list[Row | BadRow]:
    """The rows by which a form is chosen."""
    return list(islice(source.rows(), SAMPLE_ROWS))


def _empty(source: Source) -> UserError:
    return UserError("there is no text in it", where=source.name, fix="write some, or name another file")


@dataclass
class _Read:
    """What was read of a source: the usable rows in batches, the others, and how many texts were blank."""

    source: Source
    batches: list[pa.RecordBatch]
    bad: list[BadRow]
    num_rows: int = 0
    num_blank: int = 0


def _read(source: Source, form: Form, spec: DataSpec, notes: list[str]) -> _Read:
    if source.split != "train":
        first = [row.values for row in first_rows(source) if isinstance(row, Row)]
        check_fields(form.columns, names_within(first) if first else form.columns, where=source.name)
    read = _Read(source, [], [])
    for records in _batches(read, form):
        columns = [strings(texts) for texts in zip(*records, strict=True)]
        read.batches.append(pa.RecordBatch.from_arrays(columns, schema=form.schema))
        read.num_rows += len(records)
    if read.num_blank:
        notes.append(f"{read.num_blank:,} blank texts of {source.name} left out")
    if not read.num_rows and source.split == "test" and spec.dataset_name is not None and spec.test_split is None:
        # the answers of a public test set are often kept back
        notes.append(f"no row of {source.name} can be used ({_first_reason(read)}): there is no test set")
        return _Read(source, [], [])
    if spec.on_bad_row == "error" or not read.num_rows:
        refuse_bad_rows(source, read.bad, usable=read.num_rows)
    if not read.num_rows:
        raise _empty(source)
    if read.bad:
        notes.append(note_skipped(source, read.bad, usable=read.num_rows))
    return read


def _first_reason(read: _Read) -> str:
    return read.bad[0].reason if read.bad else "it is blank"


def _batches(read: _Read, form: Form) -> Iterator[list[Record]]:
    records: list[Record] = []
    size = 0
    for row in read.source.rows():
        if isinstance(row, BadRow):
            read.bad.append(row)
            continue
        try:
            record = form.record(row.values, read.source.class_names)
        except Unusable as error:
            read.bad.append(BadRow(row.line, error.reason, error.fix))
            continue
        if record is None:
            read.num_blank += 1
            continue
        records.append(record)
        size += sum(map(len, record))
        # a batch of pa.string() holds at most 2 GiB, so very long texts make smaller batches
        if len(records) == BATCH_ROWS or size > BATCH_CHARACTERS:
            yield records
            records, size = [], 0
    if records:
        yield records


def _note_chats(form: Form, notes: list[str]) -> None:
    if form.chats is None:
        return
    if form.chats.converted:
        notes.append(
            f"{form.chats.converted:,} chats in the older form from/value were read as role/content"
            " (human is user, gpt is assistant)"
        )
    if form.chats.left_out:
        notes.append(f"keys of messages that are not read: {', '.join(list(form.chats.left_out)[:10])}")
