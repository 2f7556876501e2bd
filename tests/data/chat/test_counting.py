from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from ftkit.data.chat.counting import count_chats, first_of_each_kind
from ftkit.data.chat.turns import Chat
from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.inputs.documents import training_sequences
from ftkit.tasks.causal_lm.check import marked_examples
from tests.data.chat import families

ASKED, ANSWER = {"role": "user", "content": "How deep?"}, {"role": "assistant", "content": "Four."}
CALL = {"type": "function", "id": "call00000", "function": {"name": "depth", "arguments": {"at": "pier"}}}
TOOL = {"type": "function", "function": {"name": "depth"}}
CALLS = [ASKED, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "4"}, ANSWER]
THOUGHTS = [ASKED, ANSWER | {"reasoning_content": "so"}, ASKED, ANSWER | {"reasoning_content": "hm"}]
CHATS = [
    Chat([ASKED, ANSWER]),
    Chat([ASKED, ANSWER], kwargs={"enable_thinking": True}),
    Chat(CALLS, tools=[TOOL]),
    Chat([ASKED, ANSWER | {"learnt": False}, ASKED, ANSWER]),
    Chat(THOUGHTS),
    Chat([{"role": "system", "content": "Be brief."}, ASKED, ANSWER]),
]


def split_of(chats: list[Chat]) -> Split:
    return Split("train", pa.table({"messages": [chat.to_json() for chat in chats]}), "a.jsonl")


def test_a_chat_is_kept_whole_and_as_a_bare_list_where_nothing_stands_beside_it():
    assert [Chat.from_json(chat.to_json()) for chat in CHATS] == CHATS
    assert json.loads(CHATS[0].to_json()) == [ASKED, ANSWER]


def test_what_chats_are_made_of_is_counted():
    assert count_chats(split_of(CHATS)) == {
        "turns of the user": 8,
        "answers": 9,
        "answers that are only read": 1,
        "answers with thoughts": 2,
        "calls": 1,
        "results": 1,
        "turns of the system": 1,
        "chats with tools": 1,
        "chats that tell their template something": 1,
    }


def test_a_chat_of_each_kind_is_shown_with_all_its_examples(tokenizer_of: Any):
    tokenizer, split = tokenizer_of("qwen3"), split_of(CHATS)
    assert list(first_of_each_kind(split, most=9)) == [0, 2, 3, 4, 5]
    assert list(first_of_each_kind(split, most=2)) == [0, 2]
    prompting = Prompting("chat", chat_template=families.QWEN_3.translate(str.maketrans("", "", "⟪⟫")))
    found = training_sequences(tokenizer, split, prompting, max_length=512, packing=False)
    assert found.num_answer_tokens == int(found.sequences.learnt.sum())
    shown = marked_examples(tokenizer, found.sequences, Splits(split, split, None, (), (), (), prompting))
    by_words = {what: text for text, what in shown.items()}
    assert list(by_words) == [
        "chat 1",
        "chat 3 (several answers, tools, calls)",
        "chat 4 (several answers, answers that are only read)",
        "chat 5, example 1 of 2 (several answers, thoughts)",
        "chat 5, example 2 of 2 (several answers, thoughts)",
    ]
    assert "⟦<tool_call>" in by_words["chat 3 (several answers, tools, calls)"]
    assert by_words["chat 5, example 1 of 2 (several answers, thoughts)"].count("⟦") == 1
