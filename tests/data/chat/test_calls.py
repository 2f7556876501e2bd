from __future__ import annotations

from typing import Any

import pytest

from ftkit.data.chat.calls import read_tools, without_nulls
from ftkit.data.chat.marking import ChatMarker
from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.turns import Chat
from ftkit.data.prompting import Prompting
from ftkit.data.unusable import Unusable

TOOLS = read_tools([{"name": "depth", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}], "t")
ASKED = {"role": "user", "content": "How deep?"}
RESULT = {"role": "tool", "content": '{"metres": 4}'}
ANSWER = {"role": "assistant", "content": "Four metres."}
ARGUMENTS = {"at": 'the "old" pier', "tide": True}

# What a template does with a call, in short: as JSON of an object or of text, as tags, with ids of nine letters.
HEAD = "{% for t in tools or [] %}[{{ t | tojson }}]{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
TAIL = "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CALL = "{% if m.tool_calls %}{{ m.content or '' }}{% for c in m.tool_calls %}{% set c = c.function %}"
REST = "{% endfor %}{% else %}{{ m.content }}{% endif %}"
OBJECT = HEAD + CALL + '<call>{"name": "{{ c.name }}", "arguments": {{ c.arguments | tojson }}}</call>' + REST + TAIL
TEXT = OBJECT.replace("{{ c.arguments | tojson }}", "{{ '' + c.arguments }}")
PRINTED = OBJECT.replace("{{ c.arguments | tojson }}", "{{ c.arguments }}")
TAGS = HEAD + CALL + "<{{ c.name }}>{% for k, v in c.arguments | items %}<{{ k }}>{{ v }}{% endfor %}" + REST + TAIL
NULL = OBJECT.replace("{% if m.tool_calls %}", "{% if m.role == 'assistant' and m.content is none %}")
IDS = OBJECT.replace(
    "{% set c = c.function %}",
    "{% if c.id|length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}{{ c.id }}{% set c = c.function %}",
)
DEAF = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}" + TAIL


def chat(*called: dict[str, Any], **beside: Any) -> Chat:
    return ChatReader("messages").read([ASKED, *called, RESULT, ANSWER], tools=TOOLS, **beside)


OPENAI = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_a1", "type": "function", "function": {"name": "depth", "arguments": ARGUMENTS}}],
}
OPENAI_TEXT = {
    "role": "assistant",
    "tool_calls": [{"function": {"name": "depth", "arguments": '{"at": "the \\"old\\" pier", "tide": true}'}}],
}
LEGACY = {"role": "assistant", "content": "", "function_call": {"name": "depth", "arguments": ARGUMENTS}}
SHAREGPT = {
    "from": "function_call",
    "value": '{"name": "depth", "arguments": {"at": "the \\"old\\" pier", "tide": true}}',
}


def learnt(tokenizer: Any, template: str, found: Chat) -> list[str]:
    marked = ChatMarker(tokenizer, Prompting("chat", chat_template=template)).mark(found)
    return [one.text[slice(*span)] for one in marked for span in one.spans]


@pytest.mark.parametrize("called", [OPENAI, OPENAI_TEXT, LEGACY, SHAREGPT])
def test_calls_are_one_thing_however_a_file_writes_them(called):
    found = chat(called).messages
    (call,) = found[1]["tool_calls"]
    assert call["function"] == {"name": "depth", "arguments": ARGUMENTS}
    assert found[1]["content"] == ""
    assert (found[2]["tool_call_id"], found[2]["name"]) == (call["id"], "depth")


@pytest.mark.parametrize(
    ("template", "written"),
    [
        (OBJECT, '<call>{"name": "depth", "arguments": {"at": "the \\"old\\" pier", "tide": true}}</call>'),
        (TEXT, '<call>{"name": "depth", "arguments": {"at": "the \\"old\\" pier", "tide": true}}</call>'),
        (PRINTED, '<call>{"name": "depth", "arguments": {"at": "the \\"old\\" pier", "tide": true}}</call>'),
        (NULL, '<call>{"name": "depth", "arguments": {"at": "the \\"old\\" pier", "tide": true}}</call>'),
        (IDS, 'call00000<call>{"name": "depth", "arguments": {"at": "the \\"old\\" pier", "tide": true}}</call>'),
        (TAGS, '<depth><at>the "old" pier<tide>True'),
    ],
)
def test_a_call_is_written_as_its_template_wants_it_and_learnt_and_its_result_is_not(template, written, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    assert learnt(tokenizer, template, chat(OPENAI)) == [f"{written}<|im_end|>", "Four metres.<|im_end|>"]


@pytest.mark.parametrize("template", [DEAF, OBJECT.replace("tools or []", "[]")])
def test_a_template_without_tools_refuses_with_the_reason(template, tokenizer_of):
    with pytest.raises(Unusable, match=r"not write the call of message 2|no place for tools"):
        learnt(tokenizer_of("qwen3"), template, chat(OPENAI, default_system="Be brief."))


def test_calls_written_as_text_are_learnt_as_they_stand_and_a_result_is_wrapped_once(tokenizer_of):
    hermes = [
        {"from": "human", "value": "How deep?"},
        {"from": "gpt", "value": '<tool_call>\n{"name": "depth"}\n</tool_call>'},
        {"from": "tool", "value": "<tool_response>\n4\n</tool_response>"},
        {"from": "gpt", "value": "Four."},
    ]
    wraps = DEAF.replace("{{ m.content }}", "{{ '<tool_response>' if m.role == 'tool' }}{{ m.content }}")
    found = ChatReader("conversations").read(hermes)
    (marked,) = ChatMarker(tokenizer_of("qwen3"), Prompting("chat", chat_template=wraps)).mark(found)
    assert marked.text.count("tool_response") == 1
    assert [marked.text[slice(*span)] for span in marked.spans] == [
        f"{hermes[1]['value']}<|im_end|>",
        "Four.<|im_end|>",
    ]


def test_what_a_table_fills_in_for_other_rows_is_no_argument():
    filled = {"name": "depth", "arguments": {"at": "x", "city": None, "more": {"a": None, "b": [1, None]}}}
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": None, "type": None, "function": filled}]}
    reader = ChatReader("messages")
    found = reader.read([ASKED, called, RESULT, ANSWER])
    arguments = found.messages[1]["tool_calls"][0]["function"]["arguments"]
    assert reader.nulls == 1
    assert arguments == {"at": "x", "more": {"b": [1, None]}}
    assert without_nulls({"enable_thinking": False, "other": None}) == {"enable_thinking": False}


def test_results_out_of_order_keep_the_call_that_they_answer():
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    results = [{"role": "tool", "content": "1", "tool_call_id": "b"}, {"role": "tool", "content": "2"}]
    turns = [ASKED, {"role": "assistant", "content": "", "tool_calls": calls}, *results, ANSWER]
    found = ChatReader("messages").read(turns).messages
    assert [(turn["name"], turn["tool_call_id"]) for turn in found[2:4]] == [("b", "b"), ("a", "a")]


@pytest.mark.parametrize(
    ("called", "reason"),
    [
        ({"arguments": {}}, "names no function"),
        ({"name": "f", "arguments": "{"}, "arguments of the call of message 2 is no JSON"),
        ({"name": "f", "arguments": "[1]"}, "are a list instead of an object"),
    ],
)
def test_what_is_no_call_is_refused(called, reason):
    with pytest.raises(Unusable, match=reason):
        chat({"role": "assistant", "content": "", "tool_calls": [{"function": called}]})
