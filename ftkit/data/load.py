"""The `data` part of a recipe to splits of texts, completions or chats, for a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from ftkit.data.columns.names import SAMPLE_ROWS, refuse_absent
from ftkit.data.dataset import SkippedRow, Split, Splits
from ftkit.data.form import Form
from ftkit.data.gather import Source, UsableRows, gather, refuse_bad_rows, told_with
from ftkit.data.mixture.components import (
    Component,
    Components,
    Spec,
    chosen_for_each,
    found_splits,
    source_names,
    source_weights,
)
from ftkit.data.mixture.joining import asked_notes, joined, with_validation_of_each
from ftkit.data.prompting import Prompting
from ftkit.data.reading.nested import names_within
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.repeats import without_repeats
from ftkit.data.split import limited, with_validation
from ftkit.errors import UserError
from ftkit.recipe.data_section import DataSpec

ChooseForm = Callable[..., Form]
"""(rows, spec, *, where, notes) -> what an example is."""


Forms = Mapping[str, Sequence[Form]]
"""Split -> for each of its sources what an example is."""


def read_splits(components: Components[Any], forms: Forms, spec: DataSpec, *, seed: int, notes: list[str]) -> Splits:
    """Read every source to its end, and make examples of its rows; notes are added on what is found.

    There is a form for each source: what an example is. Where there is one source, the tables and the prompting of all
    splits are the same.
    """
    splits: dict[str, Split] = {}
    skipped: list[SkippedRow] = []
    names = source_names(components)
    for name, some in components.items():
        parts = []
        for component, form in zip(some, forms[name], strict=True):
            found = _read(component, form, notes)
            if found is None:
                continue
            skipped.extend(found.skipped())
            _note_one_document(found, component.spec, notes)
            parts.append((component.name, Split(name, found.table(), found.source.name)))
        if parts:
            splits[name] = joined(name, parts, names)
    for form in dict.fromkeys(form for some in forms.values() for form in some):
        notes.extend(form.notes())
    first, promptings = forms["train"][0], _promptings(components, forms, names)
    notes.extend(asked_notes(promptings, names))
    if "validation" not in splits and names:
        splits |= with_validation_of_each(splits["train"], promptings, spec, seed, notes)
    elif "validation" not in splits:
        splits |= with_validation(splits["train"], first.prompting.kind, spec, seed, notes)
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
        first.prompting,
        promptings,
        source_weights(components),
        found={} if names else found_splits(components) | first.found,
    )


def _promptings(components: Components[Any], forms: Forms, names: Sequence[str]) -> tuple[Prompting, ...]:
    """How the rows of each source are written, in the order of their numbers."""
    found: dict[str, Prompting] = {}
    for split, some in components.items():
        for component, form in zip(some, forms[split], strict=True):
            found.setdefault(component.name, form.prompting)
    return tuple(found[name] for name in names)


def _note_one_document(found: UsableRows, spec: DataSpec, notes: list[str]) -> None:
    if found.source.split == "train" and spec.separator() is not None and found.num_rows == 1:
        notes.append(
            f"warning: data.document_separator, {spec.separator()!r}, occurs nowhere between texts of "
            f"{found.source.name}: it is one document"
        )


def forms_of(
    components: Components[Spec], notes: list[str], choose: Callable[[Component[Spec]], ChooseForm]
) -> dict[str, list[Form]]:
    """What an example is in each source, by its first rows; that of held-out rows by the training source of its name.

    Args:
        components: the sources.
        notes: what was assumed is added here, with the source's name where there are several.
        choose: the choice for a source.

    Raises:
        UserError: there is no row that can be read, or none of the forms fits.
    """
    keys = components["train"][0].spec.source_class.forms
    return chosen_for_each(
        components, lambda one, assumed: form_of(one.source, one.spec, assumed, choose(one)), keys=keys, notes=notes
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


def _read(component: Component[Any], form: Form, notes: list[str]) -> UsableRows | None:
    """The rows of a source; None for the test split of a data set that keeps its answers to itself."""
    source = component.source
    if source.split != "train":
        first = [row.values for row in first_rows(source) if isinstance(row, Row)]
        columns = names_within(first) if first else form.columns
        for name in form.columns:
            refuse_absent(name, columns, where=source.name)
    read = gather(source, lambda row: form.record(row.values, source.class_names), form.schema)
    if read.num_blank:
        notes.append(f"{read.num_blank:,} blank texts of {source.name} left out")
    if not read.num_rows and component.may_lack_answers:
        reason = read.bad[0].reason if read.bad else "it is blank"
        notes.append(f"no row of {source.name} can be used ({reason}): there is no test set")
        return None
    read.refuse_bad(component.spec)
    if not read.num_rows:
        raise _empty(source)
    read.note_skipped(notes)
    return read
