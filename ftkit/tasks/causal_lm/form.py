"""What an example of a language model is: a text, a prompt and its completion, or a chat; and how a row becomes one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ftkit.data.chat.form import KWARGS_NAME, TOOLS_NAMES, ChatColumns, ChatForm
from ftkit.data.chat.marking import ChatMarker
from ftkit.data.chat.rendering import ChatBase
from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.templates import CHAT_TEMPLATES
from ftkit.data.columns.language import describe_unclear, guess_language_columns
from ftkit.data.columns.lessons import refuse_unobeyed, verdict_column
from ftkit.data.columns.names import columns_of, mostly, note_unread, refuse_absent
from ftkit.data.dataset import Splits
from ftkit.data.form import SYSTEM_NAMES, Form, are_messages
from ftkit.data.gather import Source
from ftkit.data.load import ChooseForm, forms_of, read_splits
from ftkit.data.mixture.components import Component, find_components
from ftkit.data.prompting import Prompting, at_moment, parse_template, short_template
from ftkit.data.reading.nested import get, names_within, nested
from ftkit.data.reading.paths import check_readable, shown_path
from ftkit.errors import UserError
from ftkit.recipe.generative import LEARN
from ftkit.tasks.causal_lm.data_section import CHAT_KEYS, CausalData

_CHAT_COLUMNS = ("system_column", "history_column")
_LEARNT_TURNS = {
    None: "the assistant's turns are",
    "all_answers": "the assistant's turns are",
    "last_answer": "what the assistant writes after the user's last turn is",
    "marked": "the assistant's turns that the file marks are",
}
_KEYS = "data.text_column; data.prompt_column and data.completion_column; data.messages_column; or data.template"


def choose_form(
    rows: Sequence[Mapping[str, object]],
    spec: CausalData,
    *,
    where: str,
    notes: list[str],
    elsewhere: Collection[str] = (),
) -> Form:
    """What the recipe says an example is, or else what the names of the columns say.

    Args:
        rows: the first rows of the training set, at least one.
        spec: the recipe's.
        where: the file, for messages.
        notes: what was assumed is added here.
        elsewhere: keys that may be meant for other sources.

    Raises:
        UserError: a named column is absent, or nothing is named and nothing is clear.
    """
    columns = names_within(rows)
    for key in ("text_column", "prompt_column", "completion_column", "messages_column", *_CHAT_COLUMNS):
        refuse_absent(getattr(spec, key), columns, where=where, key=key)
    if spec.messages_column is not None:
        form: Form = _chat(ChatColumns(spec.messages_column), spec)
    elif spec.template is not None:
        form = _templated(spec.template, spec)
        for name in form.columns:
            refuse_absent(name, columns, where=where)
        _note_space(spec.template, notes)
    elif spec.prompt_column is not None and spec.completion_column is not None:
        form = _short(spec.prompt_column, spec.completion_column, rows, spec, notes)
    elif spec.text_column is not None:
        form = _text(spec.text_column)
    else:
        form = _guess(rows, spec, where, notes)
    chats = isinstance(form, ChatForm)
    if not chats:
        _refuse_chat_keys(spec, [key for key in CHAT_KEYS if key not in elsewhere], where=where)
    if spec.template is None:
        refuse_unobeyed(
            rows,
            form.columns,
            where=where,
            completions=form.prompting.kind == "completion",
            named=spec.prompt_column is not None,
            keys=("data.prompt_column", "data.completion_column"),
        )
    if form.prompting.kind == "completion":
        form.verdict = verdict_column(rows, form.columns)
    beside = _beside(rows, spec) if chats else {}
    notes.extend(f"column `{name}` is {what} its chat" for name, what in beside.items())
    note_unread(columns, (*form.columns, *beside, form.verdict or ""), notes)
    if form.prompting.kind != "text" and form.prompting.completion_only_loss:
        learnt = _LEARNT_TURNS[spec.learn] if chats else "the completion is"
        notes.append(f"only {learnt} learnt (data.{'learn' if chats and spec.learn else 'completion_only_loss'})")
    return form


def _refuse_chat_keys(spec: CausalData, keys: Sequence[str], *, where: str) -> None:
    """Refuse keys with which chats are read, where there are none.

    Raises:
        UserError: naming the first.
    """
    if given := [key for key in keys if getattr(spec, key) != type(spec).model_fields[key].default]:
        raise UserError(
            f"data.{given[0]} is for chats, and these examples are none",
            where=where,
            fix="name the column of the messages in data.messages_column, or remove it",
        )


def _beside(rows: Sequence[Mapping[str, object]], spec: CausalData) -> dict[str, str]:
    """The columns beside the messages that are read with them, and what they are."""
    kinds: tuple[tuple[str, Sequence[str]], ...] = (
        ("the system's turn of", [spec.system_column] if spec.system_column else SYSTEM_NAMES),
        ("the turns before those of", [spec.history_column] if spec.history_column else []),
        ("what may be called in", TOOLS_NAMES),
        ("told with", [KWARGS_NAME]),
    )
    there = {what: [name for name in names if any(get(row, name) for row in rows)] for what, names in kinds}
    return {names[0]: what for what, names in there.items() if names}


def _text(column: str) -> Form:
    template = None if column == "text" else f"{{{column}}}"
    return Form(Prompting("text", template), [column])


def _templated(template: str, spec: CausalData) -> Form:
    if spec.makes_chats():
        return _chat(ChatColumns(template=parse_template(template), history=spec.history_column), spec)
    prompting = Prompting(
        "completion" if LEARN in template else "text", template, completion_only_loss=spec.completion_only_loss
    )
    return Form(prompting, prompting.parsed.fields)


def _short(
    prompt: str, completion: str, rows: Sequence[Mapping[str, object]], spec: CausalData, notes: list[str]
) -> Form:
    if any(mostly([get(row, name) for row in rows], are_messages) for name in (prompt, completion)):
        return _chat(ChatColumns(prompt, completion), spec)
    template = short_template(prompt, completion, rows)
    notes.append(f"template {template!r}, made of the two columns")
    return _templated(template, spec)


def _chat(turns: ChatColumns, spec: CausalData) -> ChatForm:
    prompting = Prompting(
        "chat",
        None,
        None if spec.chat_template is None else _chat_template(spec.chat_template),
        completion_only_loss=spec.completion_only_loss and spec.learn != "everything",
        chat_template_kwargs=spec.chat_template_kwargs or {},
        system=spec.system,
    )
    reader = ChatReader(turns.read[0], spec.learn if prompting.completion_only_loss else "everything", spec.thoughts)
    return ChatForm(prompting, replace(turns, system=spec.system_column), reader)


def _chat_template(name: str) -> str:
    if name in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[name]
    path = Path(name)
    check_readable(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error.reason}", where=shown_path(path), fix="write it again as UTF-8") from error


def _guess(rows: Sequence[Mapping[str, object]], spec: CausalData, where: str, notes: list[str]) -> Form:
    found = guess_language_columns(rows)
    if found.kind is None:
        raise UserError(describe_unclear(columns_of(rows), found), where=where, fix=f"name {_KEYS}")
    notes.extend(found.notes)
    keys = found.keys
    named = spec.model_copy(update=keys)
    if found.messages is not None:
        form: Form = _chat(ChatColumns(found.messages), spec)
    elif found.text is not None:
        form = _text(found.text)
    elif found.template is not None:
        notes.append(f"template {found.template!r}, made of these columns; write another in data.template")
        form = _templated(found.template, named)
    else:
        assert found.prompt is not None
        assert found.completion is not None
        form = _short(found.prompt, found.completion, rows, named, notes)
    form.found |= keys
    return form


def _note_space(template: str, notes: list[str]) -> None:
    prompt, mark, completion = template.partition(LEARN)
    if mark and prompt.endswith(" ") and not completion[:1].isspace():
        notes.append(
            "the prompt of data.template ends in a space, which most tokenizers join to the word behind it:"
            f" {prompt.rstrip()[-20:] + LEARN + ' ' + completion[:20]!r} is learnt more easily"
        )


def load_splits(
    spec: CausalData,
    *,
    seed: int,
    narrow: Callable[[Source], Source] | None = None,
    head: Sequence[str] = (),  # noqa: ARG001
    chats: ChatBase | None = None,
) -> Splits:
    """Read, check and split the data of a recipe.

    Args:
        spec: where the examples are; paths absolute or relative to the working directory.
        seed: decides which rows are split off for validation, and which are drawn by the max_..._samples keys.
        narrow: makes each source one that is read in part.
        head: nothing: a model that writes has no head for labels.
        chats: what chats are written with; without it, one that its template refuses is found later.

    Returns:
        The splits, with their prompting and with notes on everything that was assumed.

    Raises:
        UserError: anything about the data that a person can mend, with `file:line` where it has a place.
    """
    components, notes = find_components(spec, documents=True, narrow=narrow)
    forms = forms_of(components, notes, _choice)
    of_chats = [form for some in forms.values() for form in some if isinstance(form, ChatForm)]
    if not of_chats and spec.lists_sources:
        _refuse_chat_keys(spec, CHAT_KEYS, where=", ".join(one.source.name for one in components["train"]))
    if of_chats and chats is not None:
        tokenizer = chats.tokenizer()
        for form in dict.fromkeys(of_chats):
            form.prompting = at_moment(form.prompting, tokenizer, chats.moment)
            form.rehearse = ChatMarker(tokenizer, form.prompting).mark
    return read_splits(components, forms, spec, seed=seed, notes=notes)


def _choice(component: Component[CausalData]) -> ChooseForm:
    """As `choose_form`; a key that a source among several takes from the data section may be meant for the others."""
    return partial(choose_form, elsewhere=set(CHAT_KEYS) - component.given if component.name else ())


def made_up_row(spec: CausalData, *, sentence: str, text: str, label: str) -> dict[str, Any]:  # noqa: ARG001
    """A row that the data of a recipe could have: a chat, a prompt with its completion, or a text."""
    if spec.messages_column is not None:
        turns = [("user", f"Is it true that {sentence}?"), ("assistant", text)]
        return nested({spec.messages_column: [{"role": role, "content": content} for role, content in turns]})
    if spec.template is not None:
        return nested(dict.fromkeys(parse_template(spec.template).fields, text))
    if spec.prompt_column is not None and spec.completion_column is not None:
        return nested({spec.prompt_column: f"{sentence}, is it?", spec.completion_column: text})
    return nested({spec.text_column or "text": text})
