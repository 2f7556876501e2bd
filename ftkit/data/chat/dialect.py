"""What a chat template wants its messages to look like, told from its text: few of them agree."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

from ftkit.data.chat.thoughts import BEGIN, END, answer_of, thoughts_of
from ftkit.data.chat.turns import CALLS, LEARNT_KEY, THOUGHTS, Chat, Messages, Turn, functions_of
from ftkit.data.unusable import Unusable

OTHER_TEMPLATE = "name another in data.chat_template: plain, chatml, or a .jinja file with {% generation %} marks"
OWN_TEMPLATE = "name a .jinja file that writes them in data.chat_template (plain and chatml have no place for them)"

_THOUGHT_KEY = re.compile(r"(?:\.|['\"])(reasoning_content|thinking)\b")
_NINE_CHARACTERS = re.compile(r"length\s*(!=|<)\s*9\b")
_RESULT = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)


class Style(NamedTuple):
    """How calls are given: arguments as JSON text or as an object, and no content as null or as an empty text."""

    text_arguments: bool = False
    null_content: bool = False


STYLES = (Style(), Style(text_arguments=True), Style(null_content=True), Style(True, True))


class Dialect:
    """The keys that a template reads."""

    def __init__(self, template: str) -> None:
        self._reads_thoughts = _THOUGHT_KEY.search(template) is not None
        self._tags_thoughts = BEGIN in template
        self._wraps_results = "<tool_response>" in template
        self._counts_ids = _NINE_CHARACTERS.search(template) is not None

    def shaped(self, chat: Chat, count: int, style: Style) -> Messages:
        """The first messages of a chat as the template wants them.

        Raises:
            Unusable: they have thoughts, and it writes none.
        """
        ids: dict[str, str] = {}
        return [
            self._shaped(chat.name(index), message, style, ids) for index, message in enumerate(chat.messages[:count])
        ]

    def _shaped(self, name: str, message: Turn, style: Style, ids: dict[str, str]) -> Turn:
        turn = {key: value for key, value in message.items() if key not in (LEARNT_KEY, THOUGHTS)}
        if turn["role"] == "assistant" and (found := thoughts_of(message)):
            turn |= self._thoughts(name, message, found)
        if turn["role"] == "tool" and self._wraps_results and (wrapped := _RESULT.fullmatch(turn["content"])):
            turn["content"] = wrapped[1]
        if CALLS in turn:
            turn[CALLS] = [self._call(call, style, ids) for call in turn[CALLS]]
            turn["content"] = turn["content"] or (None if style.null_content else "")
        if "tool_call_id" in turn:
            turn["tool_call_id"] = self._id(turn["tool_call_id"], ids)
        return turn

    def _thoughts(self, name: str, message: Turn, found: str) -> Turn:
        if self._reads_thoughts:
            # transformers gives them the other names that templates know them by
            return {"content": answer_of(message), THOUGHTS: found}
        if THOUGHTS not in message:
            return {}
        if not self._tags_thoughts:
            raise Unusable(
                f"{name} has thoughts ({THOUGHTS}), which the chat template does not write",
                "leave them out (data.thoughts: none), write them into the content, as the models of this template"
                f" do, or {OWN_TEMPLATE}",
            )
        return {"content": f"{BEGIN}\n{found}\n{END}\n\n{answer_of(message)}"}

    def _call(self, call: dict[str, Any], style: Style, ids: dict[str, str]) -> dict[str, Any]:
        function = call["function"]
        if style.text_arguments:
            function = function | {"arguments": json.dumps(function["arguments"], ensure_ascii=False)}
        return {**call, "id": self._id(call["id"], ids), "function": function}

    def _id(self, name: str, ids: dict[str, str]) -> str:
        """An id of nine letters and digits, where the template asks for that."""
        fits = not self._counts_ids or (len(name) == 9 and name.isalnum())
        return name if fits else ids.setdefault(name, f"call{len(ids):05d}")


def joined(chat: Chat) -> Chat:
    """A chat with neighbours of one role as one, where both are learnt or none is; results stay apart."""
    found: Messages = []
    numbers: list[int] = []
    for index, message in enumerate(chat.messages):
        before = found[-1] if found else {}
        alike = all(before.get(key) == message.get(key) for key in ("role", LEARNT_KEY))
        if alike and message["role"] != "tool" and not {CALLS, THOUGHTS} & {*before, *message}:
            found[-1] = before | {"content": f"{before['content']}\n\n{message['content']}"}
        else:
            found.append(message)
            numbers.append(chat.number(index))
    return replace(chat, messages=found, numbers=tuple(numbers))


def squeezed(text: str) -> str:
    """Without white space, of which templates make their own."""
    return "".join(text.split())


def writes(text: str, value: object) -> bool:
    """Whether a squeezed text has a value, as it is or as JSON escapes it."""
    if isinstance(value, dict | list):
        return all(writes(text, item) for item in (value.values() if isinstance(value, dict) else value))
    plain, escaped = str(value), json.dumps(value, ensure_ascii=False)
    return squeezed(plain) in text or squeezed(escaped.strip('"')) in text


def writes_calls(text: str, message: Turn) -> bool:
    """Whether a squeezed text has the calls of a message, as JSON or as tags, not as Python prints them."""
    for function in functions_of(message):
        arguments = function["arguments"]
        printed = squeezed(str(arguments)) in text and squeezed(json.dumps(arguments, ensure_ascii=False)) not in text
        if printed or not writes(text, [function["name"], arguments]):
            return False
    return True


def holds(text: str, message: Turn) -> bool:
    """Whether a text has the content, the thoughts and the calls of a message, but for white space."""
    written = squeezed(text)
    parts = (answer_of(message), thoughts_of(message))
    return all(squeezed(part) in written for part in parts) and writes_calls(written, message)
