"""Columns of a language model's data: found where usual names or contents tell, left open where they do not."""

from __future__ import annotations

import json

import pytest

from ftkit.data.columns.language import describe_unclear, guess_language_columns
from ftkit.data.form import are_messages

TURNS = [{"role": "user", "content": "Is it far?"}, {"role": "assistant", "content": "Two miles."}]


@pytest.mark.parametrize("name", ["messages", "Conversations", "chat"])
@pytest.mark.parametrize("value", [TURNS, json.dumps(TURNS), [{"from": "human", "value": "Is it far?"}]])
def test_messages_are_found_in_lists_and_in_json_text(name, value):
    found = guess_language_columns([{"id": 1, name: value}])
    assert (found.kind, found.messages) == ("chat", name)


def test_a_chat_column_that_holds_no_messages_is_none():
    found = guess_language_columns([{"chat": "some talk of the day", "id": str(n)} for n in range(9)])
    assert found.kind != "chat"


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [("prompt", "completion"), ("prompt", "response"), ("Instruction", "Output"), ("question", "answer")],
)
def test_prompts_and_completions_are_found_by_their_names(prompt, completion):
    found = guess_language_columns([{"id": 1, prompt: "How far is it?", completion: "Two miles.", "text": "all of it"}])
    assert (found.kind, found.prompt, found.completion, found.template) == ("completion", prompt, completion, None)
    assert found.notes == (f"prompt column `{prompt}` and completion column `{completion}`, found by their names",)


def test_a_column_of_answers_that_are_objects_is_not_a_completion():
    rows = [{"question": f"How far is it, number {n}?", "answer": {"start": n}} for n in range(9)]
    found = guess_language_columns(rows)
    assert (found.kind, found.text) == ("text", "question")


def test_what_an_instruction_is_about_comes_into_the_template_unless_it_is_always_empty():
    row = {"instruction": "Shorten this.", "input": "", "output": "Short."}
    assert guess_language_columns([row]).template is None
    found = guess_language_columns([row, row | {"input": "A long sentence."}])
    assert found.template == "{instruction}\n{input}\n<learn>{output}"
    assert "`input`" in found.notes[1]


def test_messages_come_before_prompts_and_prompts_before_text():
    row = {"text": "a text", "prompt": "a prompt", "completion": "an end", "messages": TURNS}
    assert guess_language_columns([row]).kind == "chat"
    del row["messages"]
    assert guess_language_columns([row]).kind == "completion"
    del row["completion"]
    assert guess_language_columns([row]).text == "text"


def test_text_is_found_by_name_by_content_and_as_the_only_column():
    stories = [f"a story about number {n}" for n in range(9)]
    assert guess_language_columns([{"line": story} for story in stories]).text == "line"
    assert guess_language_columns([{"id": n, "story": story} for n, story in enumerate(stories)]).text == "story"
    assert guess_language_columns([{"title": story, "content": story} for story in stories]).text == "content"


def test_what_is_not_clear_stays_open_and_is_described():
    rows = [{"one": f"a story number {n}", "two": f"another story {n}"} for n in range(9)]
    found = guess_language_columns(rows)
    assert (found.kind, found.candidates) == (None, ("one", "two"))
    assert describe_unclear(["one", "two"], found) == "more than one column could be the text: one, two"
    nothing = guess_language_columns([{"a": 1, "b": 2}])
    assert nothing.kind is None
    assert "(columns: a, b)" in describe_unclear(["a", "b"], nothing)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "[1, 2",
        "[1, 2]",
        pytest.param("[" * 100_000, id="deep"),
        [],
        [1],
        [{"content": "x"}],
        {"role": "user"},
    ],
)
def test_other_values_are_no_messages(value):
    assert not are_messages(value)


def test_no_rows_are_nothing_clear():
    assert guess_language_columns([]).kind is None


@pytest.mark.parametrize("name", ["text", "passage"])
def test_objects_are_no_text_whatever_their_column_is_called(name):
    assert guess_language_columns([{name: {"words": 3}}]).kind is None
