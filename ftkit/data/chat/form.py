"""How a row becomes a chat: the columns of its turns, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftkit.data.chat.calls import decoded, read_tools, without_nulls
from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.turns import Chat
from ftkit.data.form import SYSTEM_NAMES, Form, are_messages, field_text, text_of
from ftkit.data.gather import Record
from ftkit.data.prompting import Prompting, Template, fill
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.reading.nested import get, value_of
from ftkit.data.unusable import Unusable

TOOLS_NAMES = ("tools", "functions")
"""Usual names of a column beside the messages that tells what may be called."""
KWARGS_NAME = "chat_template_kwargs"
"""Column beside the messages of what the chat template is told in each."""
_TURNS = 'write [["what was asked", "what was answered"], ...], or a list of messages'


@dataclass(frozen=True)
class ChatColumns:
    """Where the turns of a chat stand: in a column of messages, or in columns of which a template makes two turns.

    Attributes:
        messages: column of all turns, or of those before the completion.
        completion: column of the turns behind those.
        template: instead of the two: the user's last turn, and behind <learn> the answer.
        history: column of the turns before that.
        system: column of the system's turn; None: by its usual names.
    """

    messages: str | None = None
    completion: str | None = None
    template: Template | None = None
    history: str | None = None
    system: str | None = None

    @property
    def read(self) -> tuple[str, ...]:
        """Columns that every row has."""
        parts = () if self.template is None else self.template.fields
        return tuple(name for name in (self.messages, self.completion, *parts) if name is not None)

    def turns(self, values: Mapping[str, object], class_names: Mapping[str, tuple[str, ...]]) -> tuple[object, int]:
        """The messages of a row, as the file has them, and how many of them are a prompt."""
        if self.template is not None:
            fields = {name: field_text(values, name, class_names.get(name)) for name in self.template.fields}
            asked, answer = (fill(part, fields).strip() for part in (self.template.prompt, self.template.completion))
            last = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            return [*_earlier(None if self.history is None else get(values, self.history)), *last], 0
        assert self.messages is not None, "else there is a template"
        messages = value_of(values, self.messages)
        if self.completion is None:
            return messages, 0
        given = _listed(messages, self.messages, "user")
        return [*given, *_listed(value_of(values, self.completion), self.completion, "assistant")], len(given)


def _listed(value: object, name: str, role: str) -> list[Any]:
    """Messages as a list; a text is a turn of that role."""
    if isinstance(value, str) and not are_messages(value):
        return [{"role": role, "content": value}]
    found = decoded(value, name, "a list of messages")
    if not isinstance(found, list):
        raise Unusable(f"{name} is {kind_of(found)} instead of a list of messages", "write one")
    return found


def _earlier(value: object) -> list[dict[str, object]]:
    """Earlier turns as messages."""
    turns = [] if value in (None, "") else decoded(value, "history", "a list")
    if not isinstance(turns, list):
        raise Unusable(f"history is {kind_of(turns)} instead of a list", _TURNS)
    if are_messages(turns):
        return turns
    found: list[dict[str, object]] = []
    for pair in turns:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Unusable("a turn of history is not what was asked with what was answered", _TURNS)
        found += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return found


def read_chat(
    reader: ChatReader,
    messages: object,
    values: Mapping[str, object],
    *,
    given: int = 0,
    system_column: str | None = None,
    system: str | None = None,
) -> Chat:
    """A chat with what stands in the columns beside it: the system's turn, tools, and what its template is told.

    Args:
        messages: as the file has them, of which so many are `given` as a prompt.
        values: the columns of the row.
        system_column: of the system's turn; None: by its usual names.
        system: turn of chats that have none.

    Raises:
        Unusable: one of them is not what its name says.
    """
    names = SYSTEM_NAMES if system_column is None else (system_column,)
    found = next((name for name in names if get(values, name) is not None), None)
    tools = next((name for name in TOOLS_NAMES if values.get(name) is not None), None)
    kwargs = decoded(values.get(KWARGS_NAME) or {}, KWARGS_NAME, "an object")
    if not isinstance(kwargs, dict):
        raise Unusable(f"{KWARGS_NAME} is {kind_of(kwargs)} instead of an object", "write an object, or nothing")
    return reader.read(
        messages,
        system="" if found is None else text_of(value_of(values, found), found),
        default_system=system or "",
        tools=[] if tools is None else read_tools(values[tools], tools),
        kwargs=without_nulls(kwargs),
        given=given,
    )


class ChatForm(Form):
    """The form of chats.

    Args:
        prompting: how they are written.
        turns: the columns that they are made of.
        reader: reads their messages.

    Attributes:
        rehearse: raises Unusable for a chat that its template does not write as it stands.
    """

    def __init__(self, prompting: Prompting, turns: ChatColumns, reader: ChatReader) -> None:
        super().__init__(prompting, turns.read)
        self.turns = turns
        self.reader = reader
        self.rehearse: Callable[[Chat], object] | None = None

    def record(self, values: Mapping[str, object], class_names: Mapping[str, tuple[str, ...]]) -> Record | None:
        """The chat of a row as JSON.

        Raises:
            Unusable: it is none, or there is nothing to learn in it.
        """
        messages, given = self.turns.turns(values, class_names)
        system = self.prompting.system
        chat = read_chat(self.reader, messages, values, given=given, system_column=self.turns.system, system=system)
        if self.rehearse is not None:
            self.rehearse(chat)
        return (chat.to_json(),)

    def notes(self) -> Sequence[str]:
        """What was found while rows were read."""
        reader = self.reader
        found = {
            "chats in the older form from/value were read as role/content (human is user, gpt is assistant)":
                reader.converted,
            "chats have a turn of the assistant that is read and not learnt, as the file says": reader.masked,
            "turns are learnt that the file marks as not to be learnt (data.learn)": reader.overruled,
            f"answers are learnt without their thoughts (data.thoughts: {reader.thoughts})": reader.cut,
            "turns call tools with keys that are null, as a table fills them in: those are left out": reader.nulls,
            "chats keep the system's turn that they have (data.system is for the others)": reader.own_systems,
        }  # fmt: skip
        notes = [f"{count:,} {what}" for what, count in found.items() if count]
        if reader.left_out:
            notes.append(f"keys of messages that are not read: {', '.join(list(reader.left_out)[:10])}")
        return notes
