"""What the chats of a split are made of: counts, and which of them are worth a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ftkit.data.chat.rows import SYSTEM_ROLES
from ftkit.data.chat.thoughts import has_thoughts
from ftkit.data.chat.turns import Chat, functions_of, is_learnt
from ftkit.data.dataset import Split

_NAMES = {"user": "turns of the user", "assistant": "answers", "tool": "results"}
_COUNTED = (
    *("turns of the user", "answers", "answers that are only read", "answers with thoughts", "calls", "results"),
    *("turns of the system", "chats with tools", "chats that tell their template something"),
)


def count_chats(split: Split) -> dict[str, int]:
    """Turns by role, answers that are read only, calls, and answers with thoughts, of all chats."""
    found: Counter[str] = Counter()
    for chat in _chats(split):
        for turn in chat.messages:
            role = turn["role"]
            found[_NAMES.get(role, "turns of the system")] += 1
            found["answers that are only read"] += role == "assistant" and not is_learnt(turn)
            found["calls"] += len(functions_of(turn))
            found["answers with thoughts"] += has_thoughts(turn)
        found["chats with tools"] += bool(chat.tools)
        found["chats that tell their template something"] += bool(chat.kwargs)
    return {what: found[what] for what in _COUNTED if found[what]}


def _kinds_of(chat: Chat) -> tuple[str, ...]:
    """What is to be seen in a chat, in a few words each."""
    turns = chat.messages
    kinds = {
        "several answers": sum(turn["role"] == "assistant" for turn in turns) > 1,
        "a system's turn": any(turn["role"] in SYSTEM_ROLES for turn in turns),
        "tools": bool(chat.tools),
        "calls": any(map(functions_of, turns)),
        "thoughts": any(map(has_thoughts, turns)),
        "answers that are only read": any(turn["role"] == "assistant" and not is_learnt(turn) for turn in turns),
    }
    return tuple(kind for kind, there in kinds.items() if there)


def first_of_each_kind(split: Split, *, most: int) -> dict[int, tuple[str, ...]]:
    """Row -> its kinds: the first row, and each that has something which none before it has; `most` at most."""
    found: dict[int, tuple[str, ...]] = {}
    seen: set[str] = set()
    for row, chat in enumerate(_chats(split)):
        kinds = _kinds_of(chat)
        if not found or not seen.issuperset(kinds):
            found[row] = kinds
            seen.update(kinds)
        if len(found) == most:
            break
    return found


def _chats(split: Split) -> Iterator[Chat]:
    return (Chat.from_json(text) for (texts,) in split.columns("messages") for text in texts)
