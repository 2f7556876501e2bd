"""What an example of a language model is: a text, a prompt and its completion, or a chat; and how a row becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from ftkit.data.chat_rows import ChatReader, Unusable, check_text
from ftkit.data.chat_templates import CHAT_TEMPLATES
from ftkit.data.columns import absent, columns_of
from ftkit.data.prompting import Prompting, check_fields, fill, short_template
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.reading.nested import names_within, value_of
from ftkit.data.reading.textfile import check_readable, shown_path
from ftkit.errors import UserError
from ftkit.recipe.generative_rules import LEARN
from ftkit.recipe.schema import DataSpec
from ftkit.tasks.causal_lm.form import describe_unclear, guess_language_columns

_KEYS = "data.text_column; data.prompt_column and data.completion_column; data.messages_column; or data.template"

Record = tuple[str, ...]


class Form:
    """What an example is, in one set of data.

    Attributes:
        prompting: for the model.
        columns: the columns of the file that are read.
        chats: reads messages; None when the examples are no chats.
    """

    def __init__(self, prompting: Prompting, columns: Sequence[str]) -> None:
        self.prompting = prompting
        self.columns = tuple(columns)
        self.chats = ChatReader(columns[0]) if prompting.kind == "chat" else None

    @property
    def schema(self) -> pa.Schema:
        """Columns of the table that is made."""
        names = {"text": ["text"], "completion": ["prompt", "completion"], "chat": ["messages"]}
        return pa.schema([(name, pa.string()) for name in names[self.prompting.kind]])

    def record(self, values: Mapping[str, object], class_names: Mapping[str, tuple[str, ...]]) -> Record | None:
        """The texts of a row, one for each column of `schema`; None for a text that is blank.

        Args:
            values: column -> value.
            class_names: column -> names of its classes, where integers stand for names.

        Raises:
            Unusable: a value is absent or no text, or there is nothing to give or to learn.
        """
        if self.chats is not None:
            return (self.chats.read(value_of(values, self.columns[0])),)
        fields = {name: field_text(values, name, class_names.get(name)) for name in self.columns}
        if self.prompting.kind == "text":
            text = fill(self.prompting.parsed.completion, fields)
            blank = all(not field.strip() for field in fields.values())
            return None if blank else (text,)
        template = self.prompting.parsed
        prompt, completion = fill(template.prompt, fields), fill(template.completion, fields)
        learnt = [piece.text for piece in template.completion if piece.is_field]
        if all(not fields[name].strip() for name in learnt):
            raise Unusable(f"{', '.join(learnt)} is empty", "fill it in, or remove the row")
        given = self.prompting.prompt_fields
        if given and all(not fields[name].strip() for name in given):
            raise Unusable(f"{', '.join(given)} is empty", "fill it in, or remove the row")
        return prompt, completion


def field_text(values: Mapping[str, object], name: str, class_names: Sequence[str] | None) -> str:
    """The text of one column: strings as they are, integers by their digits or by the name of their class.

    Raises:
        Unusable: it is absent, null, or of another kind.
    """
    value = value_of(values, name)
    if isinstance(value, int) and not isinstance(value, bool):
        if class_names is None:
            return str(value)
        if not 0 <= value < len(class_names):
            raise Unusable(f"{name} is {value}, outside its {len(class_names)} classes", "fill it in")
        return class_names[value]
    if not isinstance(value, str):
        fix = "put it in quotes" if isinstance(value, float | bool) else "write one string"
        raise Unusable(f"{name} is {kind_of(value)} instead of a string", fix)
    check_text(value, name)
    return value


def choose_form(rows: Sequence[Mapping[str, object]], spec: DataSpec, *, where: str, notes: list[str]) -> Form:
    """What the recipe says an example is, or else what the names of the columns say.

    Args:
        rows: the first rows of the training set, at least one.
        spec: the recipe's.
        where: the file, for messages.
        notes: what was assumed is added here.

    Raises:
        UserError: a named column is absent, or nothing is named and nothing is clear.
    """
    columns = names_within(rows)
    check_named(spec, ("text_column", "prompt_column", "completion_column", "messages_column"), columns, where=where)
    if spec.messages_column is not None:
        form = _chat(spec.messages_column, spec)
    elif spec.template is not None:
        form = _templated(spec.template, spec)
        check_fields(form.columns, columns, where=where)
        _note_space(spec.template, notes)
    elif spec.prompt_column is not None and spec.completion_column is not None:
        form = _short(spec.prompt_column, spec.completion_column, rows, spec, notes)
    elif spec.text_column is not None:
        form = _text(spec.text_column)
    else:
        form = _guess(rows, spec, where, notes)
    if spec.chat_template is not None and form.chats is None:
        raise UserError(
            "data.chat_template is for chats, and these examples are none",
            where=where,
            fix="name the column of the messages in data.messages_column, or remove it",
        )
    if form.prompting.kind != "text" and form.prompting.completion_only_loss:
        learnt = "the assistant's turns are" if form.chats is not None else "the completion is"
        notes.append(f"only {learnt} learnt (data.completion_only_loss)")
    return form


def check_named(spec: DataSpec, keys: Sequence[str], columns: Sequence[str], *, where: str) -> None:
    """Refuse data without a column that the recipe names.

    Raises:
        UserError: names the column, its key in the recipe, and the nearest column there is.
    """
    for key in keys:
        name = getattr(spec, key)
        if name is not None and name not in columns:
            raise UserError(f"no such column: {name} (data.{key})", where=where, fix=absent(name, columns))


def _text(column: str) -> Form:
    template = None if column == "text" else f"{{{column}}}"
    return Form(Prompting("text", template), [column])


def _templated(template: str, spec: DataSpec) -> Form:
    prompting = Prompting(
        "completion" if LEARN in template else "text", template, completion_only_loss=spec.completion_only_loss
    )
    return Form(prompting, prompting.parsed.fields)


def _short(
    prompt: str, completion: str, rows: Sequence[Mapping[str, object]], spec: DataSpec, notes: list[str]
) -> Form:
    template = short_template(prompt, completion, rows)
    notes.append(f"template {template!r}, made of the two columns")
    return _templated(template, spec)


def _chat(column: str, spec: DataSpec) -> Form:
    template = None if spec.chat_template is None else _chat_template(spec.chat_template)
    prompting = Prompting("chat", None, template, completion_only_loss=spec.completion_only_loss)
    return Form(prompting, [column])


def _chat_template(name: str) -> str:
    if name in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[name]
    path = Path(name)
    check_readable(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error.reason}", where=shown_path(path), fix="write it again as UTF-8") from error


def _guess(rows: Sequence[Mapping[str, object]], spec: DataSpec, where: str, notes: list[str]) -> Form:
    found = guess_language_columns(rows)
    if found.kind is None:
        raise UserError(describe_unclear(columns_of(rows), found), where=where, fix=f"name {_KEYS}")
    notes.extend(found.notes)
    if found.messages is not None:
        return _chat(found.messages, spec)
    if found.text is not None:
        return _text(found.text)
    if found.template is not None:
        notes.append(f"template {found.template!r}, made of these columns; write another in data.template")
        return _templated(found.template, spec)
    assert found.prompt is not None
    assert found.completion is not None
    return _short(found.prompt, found.completion, rows, spec, notes)


def _note_space(template: str, notes: list[str]) -> None:
    prompt, mark, completion = template.partition(LEARN)
    if mark and prompt.endswith(" ") and not completion[:1].isspace():
        notes.append(
            "the prompt of data.template ends in a space, which most tokenizers join to the word behind it:"
            f" {prompt.rstrip()[-20:] + LEARN + ' ' + completion[:20]!r} is learnt more easily"
        )
