"""The messages of a chat as they stand in a row, checked and in one form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftkit.data.chat.calls import decoded, link, read_calls, without_nulls
from ftkit.data.chat.thoughts import cut_thoughts
from ftkit.data.chat.turns import CALLS, LEARNT_KEY, THOUGHTS, Chat, Messages, Turn, is_learnt, texts_of
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.unusable import Unusable, check_text
from ftkit.recipe.generative import KeptThoughts, Learn

ROLES = ("system", "developer", "user", "assistant", "tool")
SYSTEM_ROLES = ("system", "developer")
_OTHER_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function": "tool",
    "ipython": "tool",
}
_LEARNS = ("train", "training", "trainable", "learn", "loss", "weight")
_HIDES = ("mask", "masked")
_THOUGHTS = (THOUGHTS, "thinking", "reasoning")
_CALLS = (CALLS, "function_call")
_OF_RESULTS = ("name", "tool_call_id")
_NOTHING: tuple[object, ...] = (None, "", [], {})
_SHAPE = 'write [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]'


@dataclass
class ChatReader:
    """Reads one row's chat after the other.

    Attributes:
        column: of the messages.
        learn: which answers are learnt; None: all but those that the file marks.
        thoughts: of which answers they are kept.
        converted: how many were in the older form `{from, value}`.
        masked: how many have a turn of the assistant that is not to be learnt.
        overruled: turns that the file marks as not to be learnt, and that are learnt all the same.
        own_systems: how many have a turn of the system where another one is set for all.
        cut: answers whose thoughts were taken out.
        nulls: turns with calls that have keys with null, as a table fills them in; they are left out.
        left_out: keys of messages that were passed over, such as `name`.
    """

    column: str
    learn: Learn | None = None
    thoughts: KeptThoughts = "all"
    converted: int = 0
    masked: int = 0
    overruled: int = 0
    own_systems: int = 0
    cut: int = 0
    nulls: int = 0
    left_out: dict[str, None] = field(default_factory=dict)

    def read(
        self,
        value: object,
        *,
        system: str = "",
        default_system: str = "",
        tools: list[dict[str, Any]] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        given: int = 0,
    ) -> Chat:
        """A list of messages, or the JSON text of one.

        A turn of the assistant that is not to be learnt (`weight: 0`, `train: false`, ...) has `learnt: false` too,
        and thoughts, calls and results stand under their own keys, whatever the file calls them.

        Args:
            value: what stands in the column.
            system: what stands beside it for a turn of the system.
            default_system: the same for chats that have none.
            tools: that may be called.
            kwargs: what the template is told of this chat.
            given: messages at the beginning that are a prompt, of which nothing is learnt.

        Raises:
            Unusable: it is no such list, or there is nothing to learn in it.
        """
        value = decoded(value, self.column, _SHAPE.removeprefix("write "))
        if not isinstance(value, list):
            raise Unusable(f"{self.column} is {kind_of(value)} instead of a list of messages", _SHAPE)
        messages = [self._message(number, message) for number, message in enumerate(value, 1)]
        if not any(message["role"] == "assistant" for message in messages):
            raise Unusable(f"{self.column} has no turn of the assistant", "add one, or remove the row")
        marks = [self._mark(number, *pair) for number, pair in enumerate(zip(value, messages, strict=True), 1)]
        self._choose(messages, marks, given)
        if not any(map(is_learnt, messages)):
            none = "no turn of the assistant is marked as to be learnt"
            reason = none if self.learn == "marked" else "every turn of the assistant is marked as not to be learnt"
            raise Unusable(reason, "remove the row")
        link(messages)
        self.cut += cut_thoughts(messages, self.thoughts)
        self.converted += any("role" not in message for message in value)
        self.masked += any(LEARNT_KEY in message for message in messages[given:]) and self.learn is None
        if default_system and not system:
            own = any(message["role"] in SYSTEM_ROLES for message in messages)
            self.own_systems += own
            system = "" if own else default_system
        whole = with_system(messages, system)
        numbers = tuple(range(1 + len(messages) - len(whole), 1 + len(messages)))
        return Chat(whole, tools or [], dict(kwargs or {}), numbers)

    def _message(self, number: int, message: object) -> Turn:
        if not isinstance(message, dict):
            raise Unusable(f"message {number} is {kind_of(message)} instead of an object", _SHAPE)
        older = "role" not in message and "from" in message
        read = ("from", "value") if older else ("role", "content")
        named, value = (message.get(key) for key in read)
        if not isinstance(named, str):
            raise Unusable(f"message {number} has no role", _SHAPE)
        role = named if named in ROLES else _OTHER_ROLES.get(named, named)
        if role not in ROLES or (not older and named in ("human", "gpt")):
            raise Unusable(f"message {number} has the role {named!r}", f"roles are {', '.join(ROLES)}")
        turn: Turn = {"role": role}
        calls = next((message[name] for name in _CALLS if message.get(name)), None)
        if named == "function_call":
            calls, value = value, ""
        if calls is not None:
            if role != "assistant":
                raise Unusable(f"message {number} calls tools, and is of the {role}", "only the assistant calls tools")
            turn[CALLS] = read_calls(calls, f"the call of message {number}")
            self.nulls += without_nulls(calls) != calls
        turn["content"] = self._content(number, value, role, may_lack=calls is not None)
        turn |= self._thoughts(number, message, role)
        kept = _OF_RESULTS if role == "tool" else ()
        turn |= {key: message[key] for key in kept if isinstance(message.get(key), str) and message[key]}
        for text in texts_of(turn):
            check_text(text, f"message {number}")
        # a table has every key in every row, with null where the file had none
        passed = (*read, *_LEARNS, *_HIDES, *_THOUGHTS, *_CALLS, *kept)
        self.left_out.update(
            {key: None for key, value in message.items() if key not in passed and value not in _NOTHING}
        )
        return turn

    def _content(self, number: int, value: object, role: str, *, may_lack: bool) -> str:
        if isinstance(value, list) and value and all(_is_text(part) for part in value):
            value = "\n".join(part["text"] for part in value)
        if role == "tool" and isinstance(value, dict | list):
            value = json.dumps(value, ensure_ascii=False)
        if value is None and may_lack:
            value = ""
        if not isinstance(value, str):
            what = f"the content of message {number} is {kind_of(value)} instead of a string"
            raise Unusable(what, _SHAPE if not isinstance(value, list) else "parts are read that are all text")
        if role == "assistant" and not value.strip() and not may_lack:
            raise Unusable(f"message {number}, the assistant's, is empty", "fill it in, or remove it")
        return value

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

    def _mark(self, number: int, message: Turn, turn: Turn) -> bool | None:
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
        if turn["role"] != "assistant" and learns == {True} and self.learn in (None, "marked"):
            raise Unusable(
                f"{next(iter(said))} asks to learn message {number}, a turn of the {turn['role']}",
                "only the assistant's turns are learnt: remove it, or set data.learn: everything",
            )
        if turn["role"] == "assistant" and learns == {False} and self.learn == "everything":
            raise Unusable(
                f"message {number} is not to be learnt, and everything is learnt (data.learn)", "remove one of the two"
            )
        return next(iter(learns), None)

    def _choose(self, messages: Messages, marks: list[bool | None], given: int) -> None:
        """Note at the assistant's turns which are not to be learnt."""
        last = max((number for number, turn in enumerate(messages) if turn["role"] == "user"), default=-1)
        for number, (turn, mark) in enumerate(zip(messages, marks, strict=True)):
            if turn["role"] != "assistant" or self.learn == "everything":
                continue
            chosen = {"all_answers": True, "marked": mark is True, "last_answer": mark is not False and number > last}
            learnt = number >= given and chosen.get(self.learn or "", mark is not False)
            self.overruled += learnt and mark is False
            if not learnt:
                turn[LEARNT_KEY] = False


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str)


def with_system(messages: Messages, system: str) -> Messages:
    """Messages with what stands beside them for a turn of the system, which may stand there already.

    Raises:
        Unusable: another one stands there.
    """
    if not system.strip():
        return messages
    check_text(system, "the system's turn")
    own = next((message["content"] for message in messages if message["role"] in SYSTEM_ROLES), None)
    if own is not None and own.strip() != system.strip():
        raise Unusable("the chat has a turn of the system, and another stands beside it", "keep one of the two")
    return messages if own is not None else [{"role": "system", "content": system}, *messages]
