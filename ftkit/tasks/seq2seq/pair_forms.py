"""What an example of task seq2seq is: a source, its target and, where data has them, further right answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from ftkit.data.columns import columns_of
from ftkit.data.prompting import Prompting, check_fields, fill
from ftkit.data.reading.nested import names_within, value_of
from ftkit.errors import UserError
from ftkit.recipe.generative_rules import LEARN
from ftkit.recipe.schema import DataSpec
from ftkit.tasks.causal_lm.forms import Form, Record, check_named
from ftkit.tasks.seq2seq import references
from ftkit.tasks.seq2seq.form import describe_unclear, guess_pair_columns

_KEYS = "data.source_column and data.target_column, or data.template"


class PairForm(Form):
    """What an example is, in one set of data.

    Attributes:
        references: column of the lists of texts that outputs are measured against; None where there is none.
        reads_lists: whether they are read from there; otherwise the target is the only reference.
    """

    def __init__(self, prompting: Prompting, *, references: str | None = None, reads_lists: bool = True) -> None:
        super().__init__(prompting, prompting.parsed.fields)
        self.references = references
        self.reads_lists = reads_lists

    @property
    def schema(self) -> pa.Schema:
        """Columns of the table that is made."""
        schema = super().schema
        return schema if self.references is None else schema.append(pa.field("references", pa.string()))

    def record(self, values: Mapping[str, object], class_names: Mapping[str, tuple[str, ...]]) -> Record | None:
        """The prompt, the completion and, where there are references, the JSON text of a list of them.

        Args and errors: as for `Form`.
        """
        record = super().record(values, class_names)
        if record is None or self.references is None:
            return record
        texts = [record[1]]
        if self.reads_lists:
            texts = references.read(value_of(values, self.references), self.references, target=record[1])
            texts = [self._completion(text) for text in texts]
        return (*record, references.to_json(texts))

    def _completion(self, text: str) -> str:
        """A reference with what the template writes around the target."""
        completion = self.prompting.parsed.completion
        fields = [piece.text for piece in completion if piece.is_field]
        return fill(completion, {fields[0]: text}) if len(fields) == 1 else text


def choose_pair_form(rows: Sequence[Mapping[str, object]], spec: DataSpec, *, where: str, notes: list[str]) -> PairForm:
    """What the recipe says an example is, or else what the names of the columns say.

    Args and errors: as for `choose_form`.
    """
    columns = names_within(rows)
    check_named(spec, ("source_column", "target_column"), columns, where=where)
    listed = None
    if spec.template is not None:
        template = _checked(spec.template)
    elif spec.source_column is not None and spec.target_column is not None:
        template = pair_template(spec.source_column, spec.target_column)
    elif spec.source_column is not None or spec.target_column is not None:
        missing = "target_column" if spec.target_column is None else "source_column"
        raise UserError(f"data.{missing} is missing", where=where, fix="name both columns, or neither")
    else:
        template, listed = _guess(rows, spec, where, notes)
    form = PairForm(Prompting("completion", escaped(spec.source_prefix or "") + template), references=listed)
    check_fields(form.columns, columns, where=where)
    return form


def _checked(template: str) -> str:
    if LEARN in template:
        return template
    fix = f"write {LEARN} behind what the model reads, before what it is to write"
    raise UserError(f"data.template has no {LEARN}", fix=fix)


def _guess(
    rows: Sequence[Mapping[str, object]], spec: DataSpec, where: str, notes: list[str]
) -> tuple[str, str | None]:
    """The template of the columns that were found, and the column of references unless the recipe names one."""
    found = guess_pair_columns(rows)
    if found.source is None or found.target is None:
        raise UserError(describe_unclear(columns_of(rows), found), where=where, fix=f"name {_KEYS}")
    if spec.references_column is None:
        notes.extend(found.notes)
        return pair_template(found.source, found.target), found.references
    notes.extend(note for note in found.notes if not note.startswith("references column"))
    return pair_template(found.source, found.target), None


def pair_template(source: str, target: str) -> str:
    """What source_column and target_column are short for.

    Example:
        >>> pair_template("de", "en")
        '{de}<learn>{en}'
    """
    return f"{{{source}}}{LEARN}{{{target}}}"


def escaped(text: str) -> str:
    """Text that stands in a template for itself.

    Example:
        >>> escaped("{x}: ")
        '{{x}}: '
    """
    return text.replace("{", "{{").replace("}", "}}")
