"""The messages of a chat as they stand in a row, checked and in one form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ftkit.data.reading.json_rows import STRICT_JSON, RepeatedKey, encodable, kind_of

ROLES = ("system", "developer", "user", "assistant", "tool")
_OLDER_ROLES = {"human": "user", "gpt": "assistant"}
_SHAPE = 'write [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]'


class Unusable(Exception):
    """A row that cannot be used: what is wrong with it, and what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclass
class ChatReader:
    """Reads one row's chat after the other.

    Attributes:
        converted: how many were in the older form `{from, value}`.
        left_out: keys of messages that were passed over, such as `name`.
    """

    column: str
    converted: int = 0
    left_out: dict[str, None] = field(default_factory=dict)

    def read(self, value: object) -> str:
        """A list of messages, or the JSON text of one, as JSON: a list of objects with role and content.

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
        return json.dumps(messages, ensure_ascii=False)

    def _decoded(self, text: str) -> object:
        try:
            value: object = STRICT_JSON.decode(text.strip())
        except (ValueError, RecursionError, RepeatedKey) as error:
            raise Unusable(f"{self.column} is no JSON: {error}", _SHAPE) from None
        return value

    def _message(self, number: int, message: object) -> dict[str, str]:
        if not isinstance(message, dict):
            raise Unusable(f"message {number} is {kind_of(message)} instead of an object", _SHAPE)
        older = "role" not in message and "from" in message
        role, content = (message.get(key) for key in (("from", "value") if older else ("role", "content")))
        if not isinstance(role, str):
            raise Unusable(f"message {number} has no role", _SHAPE)
        role = _OLDER_ROLES.get(role, role) if older else role
        if role not in ROLES:
            raise Unusable(f"message {number} has the role {role!r}", f"roles are {', '.join(ROLES)}")
        self._pass_over(number, message, older=older)
        if not isinstance(content, str):
            raise Unusable(f"the content of message {number} is {kind_of(content)} instead of a string", _SHAPE)
        if role == "assistant" and not content.strip():
            raise Unusable(f"message {number}, the assistant's, is empty", "fill it in, or remove it")
        check_text(content, f"message {number}")
        return {"role": role, "content": content}

    def _pass_over(self, number: int, message: Mapping[str, object], *, older: bool) -> None:
        if message.get("tool_calls"):
            raise Unusable(f"message {number} calls tools", "write calls and results as text, or remove the row")
        read = ("from", "value") if older else ("role", "content")
        # a table has every key in every row, with null where the file had none
        self.left_out.update({key: None for key, value in message.items() if key not in read and value is not None})


def check_text(text: str, what: str) -> None:
    """Refuse what no tokenizer can take.

    Raises:
        Unusable: a NUL character, or half of a surrogate pair (JSON inside a string can hold both).
    """
    if "\0" in text:
        raise Unusable(f"{what} holds a NUL character", "remove it")
    if not text.isascii() and not encodable(text):
        raise Unusable(f"{what} holds half a surrogate pair", "write the character itself or both halves")


# Only ordinary words and the end token, so that no base model needs a new embedding. The begin token is that of the
# bases that have one apart from the end (Llama, Gemma), whose tokenizers set it before every text. What is learnt
# begins with the space, since most tokenizers join a space to the word behind it.
_PLAIN = (
    "{% if bos_token is defined and bos_token != eos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "Assistant:{% generation %} {{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


_CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}{{ '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}"
    "{{ message['content'] }}<|im_end|>"
    "{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"
)


CHAT_TEMPLATES = {"plain": _PLAIN, "chatml": _CHATML}
"""Name in a recipe -> template."""


CHATML_MARKS = ("<|im_start|>", "<|im_end|>")
"""Single tokens in a vocabulary that is fit for `chatml`."""
