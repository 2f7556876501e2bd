"""What an example is: a text, a prompt and its completion, or a chat; and how a row becomes one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from ftkit.data.chat.calls import decoded, read_tools, without_nulls
from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.turns import Chat
from ftkit.data.gather import Record
from ftkit.data.prompting import Prompting, fill
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.reading.nested import value_of
from ftkit.data.unusable import Unusable, check_text


class Form:
    """What an example is, in one set of data: how the columns of the file that are read become text.

    Args:
        prompting: how examples are written.
        columns: that they are made of.
        rehearse: raises Unusable for a chat that its template does not write as it stands.

    Attributes:
        found: keys of the data section that nobody gave a value -> the column or template that was found.
        verdict: column that says which completions are bad and not to be learnt.
    """

    def __init__(
        self,
        prompting: Prompting,
        columns: Sequence[str],
        *,
        rehearse: Callable[[Chat], object] | None = None,
    ) -> None:
        self.prompting = prompting
        self.columns = tuple(columns)
        self.found: dict[str, str] = {}
        self.rehearse = rehearse
        self.verdict: str | None = None
        self.chats = None
        if prompting.kind == "chat":
            self.chats = ChatReader(columns[0], None if prompting.completion_only_loss else "everything")

    @property
    def schema(self) -> pa.Schema:
        """Columns of the table that is made."""
        names = {"text": ["text"], "completion": ["prompt", "completion"], "chat": ["messages"]}
        return pa.schema([(name, pa.string()) for name in names[self.prompting.kind]])

    def record(self, values: Mapping[str, object], class_names: Mapping[str, tuple[str, ...]]) -> Record | None:
        """The texts of a row (column -> value), one for each column of `schema`; None for a text that is blank.

        Integers in a column that has names of classes stand for those.

        Raises:
            Unusable: a value is absent or no text, or there is nothing to give or to learn.
        """
        if self.chats is not None:
            chat = read_chat(self.chats, value_of(values, self.columns[0]), values)
            if self.rehearse is not None:
                self.rehearse(chat)
            return (chat.to_json(),)
        fields = {name: field_text(values, name, class_names.get(name)) for name in self.columns}
        if self.prompting.kind == "text":
            text = fill(self.prompting.parsed.completion, fields)
            blank = all(not field.strip() for field in fields.values())
            return None if blank else (text,)
        if self.verdict is not None and str(values.get(self.verdict)).strip().lower() == "false":
            raise Unusable(f"{self.verdict} is false: the answer is marked as bad", "remove the row, or the column")
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
    if not isinstance(value, int) or isinstance(value, bool):
        return text_of(value, name)
    if class_names is None:
        return str(value)
    if not 0 <= value < len(class_names):
        raise Unusable(f"{name} is {value}, outside its {len(class_names)} classes", "fill it in")
    return class_names[value]


def text_of(value: object, name: str) -> str:
    """What stands in a column, where that is a string.

    Raises:
        Unusable: it is of another kind, or holds what no tokenizer can take.
    """
    if not isinstance(value, str):
        fix = "put it in quotes" if isinstance(value, int | float) else "write one string"
        raise Unusable(f"{name} is {kind_of(value)} instead of a string", fix)
    check_text(value, name)
    return value


def read_chat(reader: ChatReader, messages: object, values: Mapping[str, object]) -> Chat:
    """A chat with what stands in the columns beside it: the system's turn, tools, and what its template is told.

    Raises:
        Unusable: one of them is not what its name says.
    """
    system = next((name for name in SYSTEM_NAMES if values.get(name) is not None), None)
    tools = next((name for name in TOOLS_NAMES if values.get(name) is not None), None)
    kwargs = decoded(values.get(KWARGS_NAME) or {}, KWARGS_NAME, "an object")
    if not isinstance(kwargs, dict):
        raise Unusable(f"{KWARGS_NAME} is {kind_of(kwargs)} instead of an object", "write an object, or nothing")
    return reader.read(
        messages,
        system="" if system is None else text_of(values[system], system),
        tools=[] if tools is None else read_tools(values[tools], tools),
        kwargs=without_nulls(kwargs),
    )


SYSTEM_NAMES = ("system", "system_prompt")
"""Usual names of a column beside the messages that holds the system's turn."""
TOOLS_NAMES = ("tools", "functions")
"""Usual names of a column beside the messages that tells what may be called."""
KWARGS_NAME = "chat_template_kwargs"
"""Column beside the messages of what the chat template is told in each."""
MESSAGES_NAMES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns")
"""Usual names of a column of messages."""


def are_messages(value: object) -> bool:
    """Whether a value is a list of messages: objects with a role, or with from and value, or JSON text of such."""
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return False
        try:
            value = json.loads(value)
        except ValueError:
            return False
    if not isinstance(value, list) or not value:
        return False
    keys = ({"role"}, {"from", "value"})
    return all(isinstance(turn, Mapping) and any(names <= turn.keys() for names in keys) for turn in value)
