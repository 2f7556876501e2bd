"""A chat in one form: what its messages may hold, and how a table keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Turn = dict[str, Any]
"""role and content; of the assistant's `reasoning_content`, `tool_calls` and `learnt`; of a result, `name` and
`tool_call_id`. A call is {"type": "function", "id": ..., "function": {"name": ..., "arguments": {...}}}."""
Messages = list[Turn]

LEARNT_KEY = "learnt"
"""Key of a message of the assistant that is read and not learnt: false there."""
THOUGHTS = "reasoning_content"
"""Key of what the assistant thinks before it answers; files and templates call it otherwise too."""
CALLS = "tool_calls"


@dataclass(frozen=True)
class Chat:
    """One row.

    Attributes:
        tools: that may be called, as JSON schemas: {"type": "function", "function": {...}}.
        kwargs: what its chat template is told beside the messages.
        numbers: of the messages in the file, 0 for one that is not of them; none: 1, 2, ... They are not kept as JSON.
    """

    messages: Messages
    tools: list[dict[str, Any]] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    numbers: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def from_json(cls, text: str) -> Chat:
        """Read what `to_json` wrote."""
        found = json.loads(text)
        return cls(found) if isinstance(found, list) else cls(**found)

    def to_json(self) -> str:
        """The messages alone where nothing stands beside them."""
        beside = {name: value for name, value in (("tools", self.tools), ("kwargs", self.kwargs)) if value}
        return json.dumps({"messages": self.messages, **beside} if beside else self.messages, ensure_ascii=False)

    def number(self, index: int) -> int:
        """The number of a message in the file, from 1; 0 for one that is not of it."""
        return self.numbers[index] if self.numbers else index + 1

    def name(self, index: int) -> str:
        """A message as errors name it."""
        number = self.number(index)
        return f"message {number}" if number else "the system's turn beside the messages"


def is_learnt(message: Turn) -> bool:
    """Whether a message is a turn of the assistant that is to be learnt."""
    return message["role"] == "assistant" and bool(message.get(LEARNT_KEY, True))


def functions_of(message: Turn) -> list[dict[str, Any]]:
    """Name and arguments of each call of a message."""
    return [call["function"] for call in message.get(CALLS, ())]


def texts_of(value: object) -> Iterator[str]:
    """Every text within a message, or a part of one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_of(item)
