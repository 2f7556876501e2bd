"""The messages of a chat as they stand in a row, checked and in one form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ftkit.data.reading.json_rows import STRICT_JSON, RepeatedKey, kind_of
from ftkit.data.unusable import Unusable, check_text

ROLES = ("system", "developer", "user", "assistant", "tool")
_OLDER_ROLES = {"human": "user", "gpt": "assistant"}
LEARNT_KEY = "learnt"
"""Key of a message of the assistant that is read and not learnt: false there."""
_LEARNS = ("train", "training", "trainable", "learn", "loss", "weight")
_HIDES = ("mask", "masked")
THOUGHTS = "reasoning_content"
"""Key of what the assistant thinks before it answers, where templates look for it; other files call it otherwise."""
_THOUGHTS = (THOUGHTS, "thinking", "reasoning")
_NOTHING: tuple[object, ...] = (None, "", [], {})
_CALLS = ("tool_calls", "function_call")
_SHAPE = 'write [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]'
Turn = dict[str, Any]


@dataclass
class ChatReader:
    """Reads one row's chat after the other.

    Attributes:
        column: of the messages.
        completions: whether the assistant's turns alone are learnt, so that some of them can be left out.
        converted: how many were in the older form `{from, value}`.
        masked: how many have a turn of the assistant that is not to be learnt.
        left_out: keys of messages that were passed over, such as `name`.
    """

    column: str
    completions: bool = True
    converted: int = 0
    masked: int = 0
    left_out: dict[str, None] = field(default_factory=dict)

    def read(self, value: object, *, system: str = "") -> str:
        """A list of messages, or the JSON text of one, as JSON: a list of objects with role and content.

        A turn of the assistant that is not to be learnt (`weight: 0`, `train: false`, ...) has `learnt: false` too,
        and thoughts stand under their own key.

        Args:
            value: what stands in the column.
            system: what stands beside it for a turn of the system.

        Raises:
            Unusable: it is no such list, or there is nothing to learn in it.
        """
        if isinstance(value, str):
            value = self._decoded(value)
        if not isinstance(value, list):
            raise Unusable(f"{self.column} is {kind_of(value)} instead of a list of messages", _SHAPE)
        messages = [self._message(number, message) for number, message in enumerate(value, 1)]
        self.converted += any(isinstance(message, dict) and "role" not in message for message in value)
        if not any(message["role"] == "assistant" for message in messages):
            raise Unusable(f"{self.column} has no turn of the assistant", "add one, or remove the row")
        if not any(map(is_learnt, messages)):
            raise Unusable("every turn of the assistant is marked as not to be learnt", "remove the row")
        self.masked += any(LEARNT_KEY in message for message in messages)
        return json.dumps(with_system(messages, system), ensure_ascii=False)

    def _decoded(self, text: str) -> object:
        try:
            value: object = STRICT_JSON.decode(text.strip())
        except (ValueError, RecursionError, RepeatedKey) as error:
            raise Unusable(f"{self.column} is no JSON: {error}", _SHAPE) from None
        return value

    def _message(self, number: int, message: object) -> Turn:
        if not isinstance(message, dict):
            raise Unusable(f"message {number} is {kind_of(message)} instead of an object", _SHAPE)
        older = "role" not in message and "from" in message
        read = ("from", "value") if older else ("role", "content")
        role, content = (message.get(key) for key in read)
        if not isinstance(role, str):
            raise Unusable(f"message {number} has no role", _SHAPE)
        role = _OLDER_ROLES.get(role, role) if older else role
        if any(message.get(name) for name in _CALLS) or role in ("function_call", "function"):
            raise Unusable(f"message {number} calls tools", "write calls and results as text, or remove the row")
        if role not in ROLES:
            raise Unusable(f"message {number} has the role {role!r}", f"roles are {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise Unusable(f"the content of message {number} is {kind_of(content)} instead of a string", _SHAPE)
        if role == "assistant" and not content.strip():
            raise Unusable(f"message {number}, the assistant's, is empty", "fill it in, or remove it")
        thoughts = self._thoughts(number, message, role)
        for text in (content, *thoughts.values()):
            check_text(text, f"message {number}")
        learnt = self._learnt(number, message, role)
        # a table has every key in every row, with null where the file had none
        passed = (*read, *_LEARNS, *_HIDES, *_THOUGHTS)
        self.left_out.update(
            {key: None for key, value in message.items() if key not in passed and value not in _NOTHING}
        )
        return {"role": role, "content": content, **thoughts, **({} if learnt else {LEARNT_KEY: False})}

    def _thoughts(self, number: int, message: Turn, role: str) -> dict[str, str]:
        name = next((name for name in _THOUGHTS if message.get(name)), None)
        if name is None:
            return {}
        if role != "assistant" or not isinstance(message[name], str):
            what = (
                f"{kind_of(message[name])} instead of a string" if role == "assistant" else f"in a turn of the {role}"
            )
            raise Unusable(f"{name} of message {number} is {what}", "write it into the content, or remove it")
        return {THOUGHTS: message[name]}

    def _learnt(self, number: int, message: Turn, role: str) -> bool:
        """Whether a message is to be learnt, as one of its own keys may say."""
        said = {name: value for name in (*_LEARNS, *_HIDES) if (value := message.get(name)) is not None}
        for name, value in said.items():
            if value not in (0, 1) or isinstance(value, str):
                raise Unusable(
                    f"{name} of message {number} is {value!r}", "a turn is learnt (1) or not (0): write that"
                )
        learns = {bool(value) == (name in _LEARNS) for name, value in said.items()}
        if len(learns) > 1:
            raise Unusable(f"{' and '.join(said)} of message {number} contradict each other", "keep one of them")
        if role != "assistant":
            if learns == {True} and self.completions:
                raise Unusable(
                    f"{next(iter(said))} asks to learn message {number}, a turn of the {role}",
                    "only the assistant's turns are learnt: remove it, or set data.completion_only_loss: false",
                )
            return True
        if learns == {False} and not self.completions:
            raise Unusable(
                f"message {number} is not to be learnt, and data.completion_only_loss: false learns everything",
                "remove one of the two",
            )
        return learns != {False}


def is_learnt(message: Turn) -> bool:
    """Whether a message is a turn of the assistant that is to be learnt."""
    return message["role"] == "assistant" and bool(message.get(LEARNT_KEY, True))


def with_system(messages: list[Turn], system: str) -> list[Turn]:
    """Messages with what stands beside them for a turn of the system, which may stand there already.

    Raises:
        Unusable: another one stands there.
    """
    if not system.strip():
        return messages
    check_text(system, "the system's turn")
    own = next((message["content"] for message in messages if message["role"] in ("system", "developer")), None)
    if own is not None and own.strip() != system.strip():
        raise Unusable("the chat has a turn of the system, and another stands beside it", "keep one of the two")
    return messages if own is not None else [{"role": "system", "content": system}, *messages]
