"""What an assistant thinks before it answers: under a key of its own, or between <think> and </think>."""

from __future__ import annotations

import re

from ftkit.data.chat.turns import THOUGHTS, Messages, Turn
from ftkit.recipe.generative import KeptThoughts

BEGIN, END = "<think>", "</think>"
EMPTY = re.compile(rf"\s*{BEGIN}\s*{END}\s*")


def has_thoughts(message: Turn) -> bool:
    """Whether a message has some."""
    return message["role"] == "assistant" and bool(thoughts_of(message))


def thoughts_of(message: Turn) -> str:
    """The thoughts of a message, wherever they stand."""
    within: str = message["content"].rpartition(END)[0].partition(BEGIN)[2] if END in message["content"] else ""
    return str(message.get(THOUGHTS) or within).strip()


def answer_of(message: Turn) -> str:
    """The content of a message without thoughts."""
    content: str = message["content"]
    return content.rpartition(END)[2].lstrip() if message["role"] == "assistant" and END in content else content


def cut_thoughts(messages: Messages, kept: KeptThoughts) -> int:
    """Take thoughts out of answers, in place: of all, or of those before the user's last turn, as servers do.

    Returns:
        How many answers had some.
    """
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    stop = {"all": 0, "last": users[-1] if users else 0, "none": len(messages)}[kept]
    chosen = [message for message in messages[:stop] if has_thoughts(message)]
    for message in chosen:
        message["content"] = answer_of(message)
        message.pop(THOUGHTS, None)
    return len(chosen)
