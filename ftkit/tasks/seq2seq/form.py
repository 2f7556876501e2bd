"""What an example of task seq2seq is: a source, its target and, where data has them, further right answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ftkit.data.chat.rendering import ChatBase
from ftkit.data.columns.lessons import refuse_unobeyed, task_beside, verdict_column
from ftkit.data.columns.names import absent, columns_of, note_unread, refuse_absent
from ftkit.data.columns.pairs import ONE_TEXT_EACH, describe_unclear, guess_pair_columns
from ftkit.data.columns.references import read_references, references_json
from ftkit.data.dataset import Splits
from ftkit.data.form import Form, text_of
from ftkit.data.gather import Record, Source
from ftkit.data.labelled import made_up_labelled
from ftkit.data.load import Forms, first_rows, forms_of, read_splits
from ftkit.data.mixture.components import Component, Components, find_components, source_names
from ftkit.data.prompting import Prompting, fill, parse_template
from ftkit.data.reading.nested import names_within, nested, value_of
from ftkit.data.reading.rows import Row
from ftkit.errors import UserError
from ftkit.recipe.generative import LEARN
from ftkit.tasks.seq2seq.labels_as_text import escaped, load_labels_as_text, pair_template
from ftkit.tasks.seq2seq.recipe import Seq2SeqData

_KEYS = "data.source_column and data.target_column, or data.template"


class PairForm(Form):
    """What an example is, in one set of data.

    Attributes:
        references: column of the lists of texts that outputs are measured against; None where there is none.
        reads_lists: whether they are read from there; otherwise the target is the only reference.
    """

    def __init__(
        self,
        prompting: Prompting,
        *,
        references: str | None = None,
        reads_lists: bool = True,
        verdict: str | None = None,
    ) -> None:
        super().__init__(
            prompting, tuple(dict.fromkeys((*prompting.parsed.fields, *prompting.language_columns.values())))
        )
        self.verdict = verdict
        self.references = references
        self.reads_lists = reads_lists

    @property
    def schema(self) -> pa.Schema:
        """Columns of the table that is made."""
        more = ["references"] if self.references is not None else []
        schema = super().schema
        for name in (*more, *self.prompting.language_columns):
            schema = schema.append(pa.field(name, pa.string()))
        return schema

    def record(self, values: Mapping[str, object], class_names: Mapping[str, tuple[str, ...]]) -> Record | None:
        """The prompt, the completion and, where there are any, the JSON text of a list of references, and languages.

        Args and errors: as for `Form`.
        """
        record = super().record(values, class_names)
        if record is None:
            return record
        languages = (text_of(value_of(values, name), name) for name in self.prompting.language_columns.values())
        return (*self._with_references(record, values), *languages)

    def _with_references(self, record: Record, values: Mapping[str, object]) -> Record:
        if self.references is None:
            return record
        texts = [record[1]]
        if self.reads_lists:
            texts = read_references(value_of(values, self.references), self.references, target=record[1])
            texts = [self._completion(text) for text in texts]
        return (*record, references_json(texts))

    def _completion(self, text: str) -> str:
        """A reference with what the template writes around the target."""
        completion = self.prompting.parsed.completion
        fields = [piece.text for piece in completion if piece.is_field]
        return fill(completion, {fields[0]: text}) if len(fields) == 1 else text


def choose_form(rows: Sequence[Mapping[str, object]], spec: Seq2SeqData, *, where: str, notes: list[str]) -> PairForm:
    """What the recipe says an example is, or else what the names of the columns say.

    Args and errors: as for `choose_form`.
    """
    columns = names_within(rows)
    for key in ("source_column", "target_column", "source_language_column", "target_language_column"):
        refuse_absent(getattr(spec, key), columns, where=where, key=key)
    listed, keys = None, {}
    if spec.template is not None:
        template = _checked(spec.template)
    elif spec.source_column is not None and spec.target_column is not None:
        template = pair_template(spec.source_column, spec.target_column)
    elif spec.source_column is not None or spec.target_column is not None:
        missing = "target_column" if spec.target_column is None else "source_column"
        raise UserError(f"data.{missing} is missing", where=where, fix="name both columns, or neither")
    else:
        source, target, listed = _guess(rows, spec, where, notes)
        template, keys = pair_template(source, target), {"source_column": source, "target_column": target}
    prompting = Prompting(
        "completion",
        escaped(spec.source_prefix or "") + template,
        source_language_column=spec.source_language_column,
        target_language_column=spec.target_language_column,
    )
    form = PairForm(prompting, references=listed)
    form.found |= keys
    for name in form.columns:
        refuse_absent(name, columns, where=where)
    references = spec.references_column or listed
    read = (*form.columns, *((references,) if references else ()))
    if spec.template is None:
        refuse_unobeyed(
            rows,
            read,
            where=where,
            completions=True,
            named=spec.source_column is not None,
            keys=("data.source_column", "data.target_column"),
        )
        task = task_beside(rows, read)
        if task is not None and spec.source_column is None and spec.source_prefix is None:
            raise UserError(
                f"column {task.column} says what is to be done with each row, and nothing reads it",
                where=where,
                fix=f'put it before the source, data.template: "{task.template}"; columns that are named leave it out',
            )
    form.verdict = verdict_column(rows, read)
    note_unread(columns, (*read, form.verdict or ""), notes)
    return form


def _checked(template: str) -> str:
    if LEARN in template:
        return template
    fix = f"write {LEARN} behind what the model reads, before what it is to write"
    raise UserError(f"data.template has no {LEARN}", fix=fix)


def _guess(
    rows: Sequence[Mapping[str, object]], spec: Seq2SeqData, where: str, notes: list[str]
) -> tuple[str, str, str | None]:
    """Source and target column, and the column of references unless the recipe names one."""
    found = guess_pair_columns(rows)
    if found.source is None or found.target is None:
        fix = ONE_TEXT_EACH if found.lists else f"name {_KEYS}"
        raise UserError(describe_unclear(columns_of(rows), found), where=where, fix=fix)
    if spec.references_column is None:
        notes.extend(found.notes)
        return found.source, found.target, found.references
    notes.extend(note for note in found.notes if not note.startswith("references column"))
    return found.source, found.target, None


def load_splits(
    spec: Seq2SeqData,
    *,
    seed: int,
    narrow: Callable[[Source], Source] | None = None,
    head: Sequence[str] = (),  # noqa: ARG001
    chats: ChatBase | None = None,  # noqa: ARG001
) -> Splits:
    """Read, check and split the data of a recipe.

    Args:
        spec: where the examples are; paths absolute or relative to the working directory.
        seed: decides which rows are split off for validation, and which are drawn by the max_..._samples keys.
        narrow: makes each source one that is read in part.
        head: nothing: a model that writes has no head for labels.
        chats: of another task.

    Returns:
        The splits, with their prompting and with notes on everything that was assumed. Their tables have the columns
        prompt and completion; references (a JSON list of texts) where data.references_column is named; label, with
        the label names, where data.labels_as_text is true.

    Raises:
        UserError: anything about the data that a person can mend, with `file:line` where it has a place.
    """
    if spec.labels_as_text:
        return load_labels_as_text(spec, seed=seed, narrow=narrow)
    components, notes = find_components(spec, narrow=narrow)
    forms = forms_of(components, notes, lambda _component: choose_form)
    pairs = _with_references(components, forms, spec, notes)
    return read_splits(components, pairs, spec, seed=seed, notes=notes)


def _with_references(
    components: Components[Seq2SeqData], forms: Forms, spec: Seq2SeqData, notes: list[str]
) -> dict[str, list[PairForm]]:
    """For each source a form that reads lists of references where there are any and outputs are measured.

    Raises:
        UserError: the column of references is nowhere; rows of some sources name their languages, and others do not.
    """
    pairs = {split: [_of_pairs(form) for form in some] for split, some in forms.items()}
    if not source_names(components):
        (form,), sources = pairs["train"], {split: some[0].source for split, some in components.items()}
        return {split: [one] for split, one in _forms(form, sources, spec, notes).items()}
    languages = {len(form.prompting.language_columns) for some in pairs.values() for form in some}
    if len(languages) > 1:
        fix = "name data.source_language_column and data.target_language_column for all sources, or for none"
        raise UserError("rows of some sources name their languages, and those of others do not", fix=fix)
    named = {
        split: [one.spec.references_column or form.references for one, form in zip(some, pairs[split], strict=True)]
        for split, some in components.items()
    }
    if not any(name for some in named.values() for name in some):
        return pairs
    return {
        split: [_of_several(*one) for one in zip(some, pairs[split], named[split], strict=True)]
        for split, some in components.items()
    }


def _of_pairs(form: Form) -> PairForm:
    assert isinstance(form, PairForm), "choose_form gives no other"
    return form


def _of_several(component: Component[Seq2SeqData], form: PairForm, name: str | None) -> PairForm:
    """The form of a source beside others of which some have references: where it has none, its targets are those."""
    reads_lists = name is not None and name in _columns(component.source)
    if not reads_lists and "references_column" in component.given:
        refuse_absent(name, _columns(component.source), where=component.source.name, key="references_column")
    return PairForm(form.prompting, references=name or "references", reads_lists=reads_lists, verdict=form.verdict)


def _forms(form: PairForm, sources: Mapping[str, Source], spec: Seq2SeqData, notes: list[str]) -> dict[str, PairForm]:
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
        bare = PairForm(form.prompting, verdict=form.verdict)
        bare.found |= form.found
        return dict.fromkeys(sources, bare)
    if not listed:
        fix = absent(name, columns[measured[0].split])
        raise UserError(f"no such column: {name} (data.references_column)", where=measured[0].name, fix=fix)
    notes.extend(
        f"{source.name} has no column `{name}`: its outputs are measured against its targets"
        for source in measured
        if source.split not in listed
    )
    forms = {
        split: PairForm(form.prompting, references=name, reads_lists=split in listed, verdict=form.verdict)
        for split in sources
    }
    forms["train"].found |= form.found | {"references_column": name}
    return forms


def _columns(source: Source) -> list[str]:
    return names_within([row.values for row in first_rows(source) if isinstance(row, Row)])


def made_up_row(spec: Seq2SeqData, *, sentence: str, text: str, label: str) -> dict[str, Any]:
    """A row that the data of a recipe could have: a source and its target, or a text and its label."""
    if spec.labels_as_text:
        return made_up_labelled(spec, sentence=sentence, text=text, label=label)
    if spec.template is not None:
        values: dict[str, Any] = dict.fromkeys(parse_template(spec.template).fields, text)
    else:
        values = {spec.source_column or "source": text, spec.target_column or "target": f"{sentence}."}
    for name in (spec.source_language_column, spec.target_language_column):
        if name is not None:
            values[name] = "en_XX"
    if spec.references_column is not None:
        values[spec.references_column] = [f"{sentence}.", f"it is said that {sentence}."]
    return nested(values)
