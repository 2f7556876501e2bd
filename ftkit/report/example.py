"""One row of the data, cut at the place where the model goes on, for a card to show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from ftkit.data.chat.turns import Chat
from ftkit.data.dataset import Split
from ftkit.data.prompting import Prompting

PROMPT_WORDS = 8
"""Words of a plain text that the lines of a card let the model go on with."""
EXAMPLE_ROWS = 50
"""Rows among which the shortest is looked for."""


class Example(NamedTuple):
    """What the model is given of a row, a text or the messages of a chat up to an answer, and what follows there."""

    prompt: str | list[dict[str, str]]
    answer: str


def made_up_prompt(prompting: Prompting) -> str | list[dict[str, str]]:
    """What a model may be asked that was trained in this form, with no word of the data."""
    if prompting.kind == "chat":
        system = [{"role": "system", "content": prompting.system}] if prompting.system else []
        return [*system, {"role": "user", "content": "What can you tell me?"}]
    if prompting.kind == "completion":
        return prompting.render_prompt({name: f"the {name}" for name in prompting.prompt_fields})
    return "This is"


def find_example(split: Split, prompting: Prompting) -> Example:
    """The shortest example among the first rows: a card is to be read."""
    # of several sources the first one, in whose form the model is asked
    _, _, first = next(split.by_source())
    rows = first.table.slice(0, EXAMPLE_ROWS).to_pylist()
    if prompting.kind == "completion":
        row = min(rows, key=lambda row: len(row["prompt"]) + len(row["completion"]))
        return Example(row["prompt"], row["completion"])
    if prompting.kind == "chat":
        return min(map(_cut_chat, rows), key=lambda example: len(json.dumps(example.prompt)))
    text = min((row["text"] for row in rows if row["text"].strip()), key=len).strip()
    return Example(" ".join(text.split()[:PROMPT_WORDS]), text)


def _cut_chat(row: Mapping[str, str]) -> Example:
    """A chat up to the first answer that something stands before."""
    messages = Chat.from_json(row["messages"]).messages
    answers = (number for number, turn in enumerate(messages) if number and turn["role"] == "assistant")
    first = next(answers, len(messages) - 1)
    before = [{"role": turn["role"], "content": turn.get("content") or ""} for turn in messages[:first]]
    return Example(before, messages[first].get("content") or "")
