"""What an example is: a text, a prompt and its completion, or a chat; and how a row becomes one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

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

    Attributes:
        found: keys of the data section that nobody gave a value -> the column or template that was found.
        verdict: column that says which completions are bad and not to be learnt.
    """

    def __init__(self, prompting: Prompting, columns: Sequence[str]) -> None:
        self.prompting = prompting
        self.columns = tuple(columns)
        self.found: dict[str, str] = {}
        self.verdict: str | None = None

    def notes(self) -> Sequence[str]:
        """What was found while rows were read, one sentence each."""
        return ()

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


SYSTEM_NAMES = ("system", "system_prompt")
"""Usual names of a column beside messages or prompts that holds the system's turn."""
MESSAGES_NAMES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns")
"""Usual names of a column of messages."""


def are_messages(value: object) -> bool:
    """Whether a value is a list of messages: objects with a role, or with from and value, or JSON text of such."""
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return False
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    if not isinstance(value, list) or not value:
        return False
    keys = ({"role"}, {"from", "value"})
    return all(isinstance(turn, Mapping) and any(names <= turn.keys() for names in keys) for turn in value)
