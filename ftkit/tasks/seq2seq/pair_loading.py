"""The `data` part of a recipe of task seq2seq to splits of sources and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ftkit.data.columns import absent
from ftkit.data.dataset import Splits
from ftkit.data.gather import Source
from ftkit.data.load import first_rows, form_of, read_splits
from ftkit.data.reading.nested import names_within
from ftkit.data.reading.rows import Row
from ftkit.data.sources import find_sources
from ftkit.errors import UserError
from ftkit.recipe.schema import DataSpec
from ftkit.tasks.seq2seq.labels_as_text import load_labels_as_text
from ftkit.tasks.seq2seq.pair_forms import PairForm, choose_pair_form


def load_pair_splits(spec: DataSpec, *, seed: int, narrow: Callable[[Source], Source] | None = None) -> Splits:
    """Read, check and split the data of a recipe.

    Args:
        spec: where the examples are; paths absolute or relative to the working directory.
        seed: decides which rows are split off for validation, and which are drawn by the max_..._samples keys.
        narrow: makes each source one that is read in part.

    Returns:
        The splits, with their prompting and with notes on everything that was assumed. Their tables have the columns
        prompt and completion; references (a JSON list of texts) where data.references_column is named; label, with
        the label names, where data.labels_as_text is true.

    Raises:
        UserError: anything about the data that a person can mend, with `file:line` where it has a place.
    """
    if spec.labels_as_text:
        return load_labels_as_text(spec, seed=seed, narrow=narrow)
    sources, notes = find_sources(spec)
    if narrow is not None:
        sources = {name: narrow(source) for name, source in sources.items()}
    form = form_of(sources["train"], spec, notes, choose_pair_form)
    assert isinstance(form, PairForm)
    forms = _forms(form, sources, spec, notes)
    return read_splits(sources, forms, spec, seed=seed, notes=notes)


def _forms(form: PairForm, sources: Mapping[str, Source], spec: DataSpec, notes: list[str]) -> dict[str, PairForm]:
    """For each source a form that reads lists of references where there are any and outputs are measured."""
    name = spec.references_column or form.references
    if name is None:
        return dict.fromkeys(sources, form)
    # without a validation set a part of the training set becomes one
    names = ("validation" if "validation" in sources else "train", "test")
    measured = [sources[split] for split in names if split in sources]
    columns = {source.split: _columns(source) for source in measured}
    listed = [split for split, found in columns.items() if name in found]
    if not listed and spec.references_column is None:
        notes.append(f"column `{name}` is in the training set only, so it is not used")
        return dict.fromkeys(sources, PairForm(form.prompting))
    if not listed:
        fix = absent(name, columns[measured[0].split])
        raise UserError(f"no such column: {name} (data.references_column)", where=measured[0].name, fix=fix)
    notes.extend(
        f"{source.name} has no column `{name}`: its outputs are measured against its targets"
        for source in measured
        if source.split not in listed
    )
    return {split: PairForm(form.prompting, references=name, reads_lists=split in listed) for split in sources}


def _columns(source: Source) -> list[str]:
    return names_within([row.values for row in first_rows(source) if isinstance(row, Row)])
