"""What a person or a file asks of a language model, in the form in which the model was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ftkit.data.chat.calls import decoded
from ftkit.data.chat.form import read_chat
from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.turns import Chat
from ftkit.data.form import MESSAGES_NAMES, field_text
from ftkit.data.prompting import FORMS, Prompting, parse_template
from ftkit.data.reading.asked import AS_TRAINED, FileReading, iter_asked, usable
from ftkit.data.reading.nested import get, has
from ftkit.data.reading.rows import Row
from ftkit.errors import UserError
from ftkit.models.reading.plausible import PROMPTING_KINDS
from ftkit.models.saved_folder import PROMPTING_FILE, has_chat_template
from ftkit.recipe.sources.section import Quoting
from ftkit.storage import read_json_object

_ANSWERING = ("assistant", "gpt", "function_call")
PLAIN_COLUMNS = ("prompt", "text", "content")
"""Columns of a file that hold whole prompts, whatever the columns of the training data were called."""


class PromptForm(NamedTuple):
    """The form of a model's inputs, and what was assumed of it when nothing says it."""

    prompting: Prompting
    note: str | None


@dataclass(frozen=True)
class Ask:
    """One prompt.

    Attributes:
        text: as it is sent, for everything but chats.
        chat: up to where the assistant is to write; None for everything else.
        values: the columns of the file it comes from; what was typed, for others.
        source_language: of the text, where the tokenizer marks languages; None: as it was trained.
        target_language: the same of the answer.
    """

    text: str | None = None
    chat: Chat | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    source_language: str | None = None
    target_language: str | None = None

    @property
    def shown(self) -> str:
        """The prompt for a person's eyes: the text, or the last message."""
        return self.text or "" if self.chat is None else str(self.chat.messages[-1]["content"])


def form_of(folder: Path, *, raw: bool = False) -> PromptForm:
    """How the inputs of a saved language model are written, told from its files alone; raw: sent as they are.

    Raises:
        UserError: prompting.json cannot be read.
    """
    file = folder / PROMPTING_FILE
    if raw:
        return PromptForm(Prompting("text"), None)
    if file.is_file():
        try:
            prompting = Prompting(**read_json_object(file, PROMPTING_KINDS))
            if prompting.kind not in FORMS:
                raise TypeError(f"there is no kind {prompting.kind!r}")
            if prompting.template is not None:
                parse_template(prompting.template)
            return PromptForm(prompting, None)
        except (UserError, TypeError) as error:
            reason = error.problem if isinstance(error, UserError) else error
            raise UserError(
                f"it cannot be read: {reason}", where=str(file), fix="add --raw to send prompts as they are"
            ) from error
    if has_chat_template(folder):
        assumed = "prompts are the user's turn in its chat template (--raw: as they are)"
        return PromptForm(Prompting("chat"), f"{folder} does not say how it was trained: {assumed}")
    return PromptForm(Prompting("text"), f"{folder} does not say how it was trained: prompts are sent as they are")


def typed_prompts(
    prompting: Prompting, prompts: Sequence[str], fields: Mapping[str, str], *, system: str | None
) -> list[Ask]:
    """Prompts from the command line.

    Args:
        prompts: each becomes a text, the one column of a prompt, or the user's turn.
        fields: columns of a prompt that has several; then there is one prompt and `prompts` is empty.
        system: the system's turn of a chat; None: as it was in training, where that was one for all.

    Raises:
        UserError: they do not make a prompt of this form.
    """
    for text in (*prompts, *fields.values(), system or ""):
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError("a prompt holds bytes that are no text in this terminal's encoding", fix="type it in UTF-8")
    names = prompting.prompt_fields
    if fields and not names:
        raise UserError(f"this model reads {_form(prompting)}, which have no fields", fix="use --prompt")
    if system is not None and prompting.kind != "chat":
        raise UserError(f"this model reads {_form(prompting)}, which have no system's turn", fix="leave --system out")
    if names and (fields or len(names) > 1):
        return [_filled(prompting, prompts, fields)]
    if not prompts:
        raise UserError("there is no prompt", fix="add --prompt '...'")
    asks = [_ask(prompting, prompt, {"prompt": prompt}) for prompt in prompts]
    shown = {} if system is None else {"system": system}
    system = prompting.system if system is None and prompting.kind == "chat" else system
    if not system:
        return asks
    turn = {"role": "system", "content": system}
    chats = [ask.chat.messages for ask in asks if ask.chat is not None]
    return [
        Ask(chat=Chat([turn, *messages]), values={**shown, **ask.values})
        for messages, ask in zip(chats, asks, strict=True)
    ]


def _form(prompting: Prompting) -> str:
    kinds = {"text": "plain texts", "completion": f"prompts by the template {prompting.template!r}", "chat": "chats"}
    return kinds[prompting.kind]


def _filled(prompting: Prompting, prompts: Sequence[str], fields: Mapping[str, str]) -> Ask:
    names = prompting.prompt_fields
    wanted = " ".join(f"--field {name}=..." for name in names)
    if prompts:
        raise UserError(f"this model was trained with the columns {', '.join(names)}", fix=f"ask it with {wanted}")
    if unknown := [name for name in fields if name not in names]:
        raise UserError(f"the prompt has no field {unknown[0]}", fix=f"ask with {wanted}")
    if missing := [name for name in names if name not in fields]:
        raise UserError(f"the field {missing[0]} of the prompt is missing", fix=f"ask with {wanted}")
    if not any(text.strip() for text in fields.values()):
        raise UserError("every field of the prompt is empty", fix=f"ask with {wanted}")
    return Ask(prompting.render_prompt(fields), values=dict(fields))


def _ask(prompting: Prompting, prompt: str, values: Mapping[str, object]) -> Ask:
    if prompting.kind == "text":
        return Ask(prompt, values=values)
    if not prompt:
        raise UserError("the prompt is empty", fix="write what the model is to answer")
    if prompting.kind == "chat":
        return Ask(chat=Chat([{"role": "user", "content": prompt}]), values=values)
    return Ask(prompting.render_prompt(dict.fromkeys(prompting.prompt_fields, prompt)), values=values)


def file_prompts(
    prompting: Prompting,
    path: Path,
    *,
    column: str | None = None,
    reading: FileReading = AS_TRAINED,
    trained: Quoting = "minimal",
    say: Callable[[str], None] = lambda _note: None,
) -> list[Ask]:
    """Prompts from the rows of a file: the columns of the training data, or whole prompts.

    Args:
        path: text (one prompt a line), CSV, TSV, JSON, JSONL, Parquet or Arrow.
        column: where the data's texts or chats stood in training, when a recipe says it.
        reading, trained, say: as for `iter_asked` and `usable`.

    Raises:
        UserError: there is no such file, no row, no column that fits, or a row that cannot be read; with its line.
    """
    rows = iter_asked(path, reading, trained=trained, say=say)
    made = usable(path, rows, lambda row: _row_ask(prompting, row, column), on_bad_row=reading.on_bad_row, say=say)
    if not (asks := list(made)):
        raise UserError("there is no row in it that can be used", where=str(path))
    return asks


def in_its_languages(ask: Ask, prompting: Prompting, *, source: str | None, target: str | None) -> Ask:
    """A prompt in the languages that are named, or else in those that its row has where training had them."""
    codes = {side: get(ask.values, column) for side, column in prompting.language_columns.items()}
    return replace(
        ask,
        source_language=source or _code(codes.get("source_language")),
        target_language=target or _code(codes.get("target_language")),
    )


def _code(value: object) -> str | None:
    return None if value is None else str(value)


def _row_ask(prompting: Prompting, row: Row, column: str | None) -> Ask:
    values, names = row.values, prompting.prompt_fields
    if names and all(has(values, name) for name in names):
        # numbers become text as they did in training
        return Ask(prompting.render_prompt({name: field_text(values, name, None) for name in names}), values=values)
    if prompting.kind == "chat" and (found := _first((column, *MESSAGES_NAMES), values)):
        return Ask(chat=_chat(values, found, prompting.system), values=values)
    whole = (column, *PLAIN_COLUMNS, *(values if len(values) == 1 else ()))
    found = _first(whole, values) if len(names) <= 1 else None
    if found is None:
        wanted = ", ".join(names) or ("messages" if prompting.kind == "chat" else "text")
        other = "" if len(names) > 1 else ", nor one called prompt"
        raise UserError(f"there is no column {wanted}{other}", fix=f"columns here: {', '.join(values)}")
    return _ask(prompting, field_text(values, found, None), values)


def _first(names: Iterable[str | None], values: Mapping[str, object]) -> str | None:
    return next((name for name in names if name and has(values, name)), None)


def _chat(values: Mapping[str, object], name: str, system: str | None) -> Chat:
    turns = decoded(get(values, name), f"column {name}", "a list of messages")
    if not isinstance(turns, list) or not turns:
        raise UserError(f"column {name} holds no messages", fix="write a list of objects with role and content")
    # what the data have the assistant answer at the end is what is asked for
    while turns and isinstance(turns[-1], dict) and turns[-1].get("role", turns[-1].get("from")) in _ANSWERING:
        turns = turns[:-1]
    if not turns:
        raise UserError(f"column {name} has nothing before the assistant's turn", fix="begin with the user's")
    # read as in training, where a chat without an answer has nothing to learn and is refused
    chat = read_chat(ChatReader(name), [*turns, {"role": "assistant", "content": "-"}], values, system=system)
    return replace(chat, messages=chat.messages[:-1])
