from __future__ import annotations

from typing import Any

import pytest

from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.turns import LEARNT_KEY
from ftkit.data.unusable import Unusable


def read(*turns: dict[str, Any], learn: Any = None, system: str = "") -> list[dict[str, Any]]:
    chat = [{"role": "user", "content": "q"}, *({"role": "assistant", "content": "a"} | turn for turn in turns)]
    return ChatReader("messages", learn).read(chat, system=system).messages


@pytest.mark.parametrize("said", [{"weight": 0}, {"train": False}, {"loss": False}, {"training": 0}, {"mask": True}])
def test_what_says_that_a_turn_is_not_learnt_is_obeyed(said):
    assert [turn.get(LEARNT_KEY) for turn in read(said, {})] == [None, False, None]
    with pytest.raises(Unusable, match="every turn"):
        read(said)
    with pytest.raises(Unusable, match="everything is learnt"):
        read(said, {}, learn="everything")


@pytest.mark.parametrize("said", [{}, {"weight": 1}, {"train": True}, {"loss": None}, {"mask": False}])
def test_what_says_that_a_turn_is_learnt_changes_nothing(said):
    assert read(said) == read({})


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"weight": 0.5}, "weight of message 2 is 0.5"),
        ({"weight": "0"}, "weight of message 2 is '0'"),
        ({"weight": 1, "mask": True}, "contradict"),
        ({"role": "user", "train": True}, "asks to learn message 2, a turn of the user"),
        ({"function_call": {"arguments": {}}}, "names no function"),
        ({"tool_calls": [{}]}, "names no function"),
        ({"thinking": ["a"]}, "thinking of message 2 is a list"),
        ({"role": "user", "reasoning": "a"}, "in a turn of the user"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(said, reason):
    with pytest.raises(Unusable, match=reason):
        read(said, {})


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_stand_under_one_name(name):
    assert read({name: "so"})[1] == {"role": "assistant", "content": "a", "reasoning_content": "so"}


def test_a_turn_of_the_system_that_stands_beside_a_chat_comes_first_and_contradicts_no_other():
    assert read({}, system="Be kind.")[0] == {"role": "system", "content": "Be kind."}
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    assert ChatReader("messages").read(chat, system="Be kind.").messages == chat
    with pytest.raises(Unusable, match="another stands beside it"):
        ChatReader("messages").read(chat, system="Be rude.")
