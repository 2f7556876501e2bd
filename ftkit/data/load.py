"""The `data` part of a recipe to splits of texts, completions or chats, for a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

import pyarrow as pa

from ftkit.data.columns.names import SAMPLE_ROWS, refuse_absent
from ftkit.data.dataset import Split, Splits
from ftkit.data.form import Form
from ftkit.data.gather import Source, UsableRows, gather, refuse_bad_rows, told_with
from ftkit.data.reading.nested import names_within
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.repeats import without_repeats
from ftkit.data.sources import found_splits
from ftkit.data.split import limited, with_validation
from ftkit.errors import UserError
from ftkit.recipe.data_section import SPLIT_NAMES, DataSpec

ChooseForm = Callable[..., Form]
"""(rows, spec, *, where, notes) -> what an example is."""


def read_splits(
    sources: Mapping[str, Source], forms: Mapping[str, Form], spec: DataSpec, *, seed: int, notes: list[str]
) -> Splits:
    """Read every source to its end, and make examples of its rows; notes are added on what is found.

    There is a form for each source (train, and validation and test where there are any): what an example is. Their
    tables and prompting are the same.
    """
    form = forms["train"]
    splits: dict[str, Split] = {}
    skipped = []
    for name in SPLIT_NAMES:
        if name not in sources:
            continue
        found = _read(sources[name], forms[name], spec, notes)
        if found is None:
            continue
        skipped.extend(found.skipped())
        if name == "train" and spec.separator() is not None and found.num_rows == 1:
            notes.append(
                f"warning: data.document_separator, {spec.separator()!r}, occurs nowhere between texts of "
                f"{found.source.name}: it is one document"
            )
        table = pa.Table.from_batches(found.batches, schema=form.schema)
        splits[name] = Split(name, table, found.source.name)
    notes.extend(form.notes())
    if "validation" not in splits:
        splits |= with_validation(splits["train"], form.prompting.kind, spec, seed, notes)
    if spec.drop_duplicates:
        splits = without_repeats(splits, notes)
    splits = {name: limited(split, spec, seed=seed, notes=notes) for name, split in splits.items()}
    return Splits(
        splits["train"],
        splits["validation"],
        splits.get("test"),
        (),
        tuple(notes),
        tuple(skipped),
        form.prompting,
        found=found_splits(sources) | form.found,
    )


def form_of(source: Source, spec: DataSpec, notes: list[str], choose: ChooseForm) -> Form:
    """What an example is, by the first rows of the training set; notes are added on what was assumed.

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


def _read(source: Source, form: Form, spec: DataSpec, notes: list[str]) -> UsableRows | None:
    """The rows of a source; None for the test split of a data set that keeps its answers to itself."""
    if source.split != "train":
        first = [row.values for row in first_rows(source) if isinstance(row, Row)]
        columns = names_within(first) if first else form.columns
        for name in form.columns:
            refuse_absent(name, columns, where=source.name)
    read = gather(source, lambda row: form.record(row.values, source.class_names), form.schema)
    if read.num_blank:
        notes.append(f"{read.num_blank:,} blank texts of {source.name} left out")
    if not read.num_rows and source.may_lack_answers(spec):
        reason = read.bad[0].reason if read.bad else "it is blank"
        notes.append(f"no row of {source.name} can be used ({reason}): there is no test set")
        return None
    read.refuse_bad(spec)
    if not read.num_rows:
        raise _empty(source)
    read.note_skipped(notes)
    return read
