"""What is learnt of chats by the templates of well-known models, beside what transformers marks in them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from ftkit.data.chat.calls import read_tools
from ftkit.data.chat.marking import ChatMarker, Marked
from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.turns import Chat
from ftkit.data.prompting import Prompting
from ftkit.data.unusable import Unusable
from tests.data.chat import families

TOOLS = read_tools([{"name": "depth", "parameters": {"type": "object"}}], "tools")


UNMARKED = str.maketrans("", "", "⟪⟫")


class Known(NamedTuple):
    """How a template takes chats: texts that two answers become, and with thoughts; whether calls; 0 is a refusal."""

    answers: int = 1
    thoughts: int = 0
    calls: bool = False
    system: bool = True


KNOWN = {
    "LLAMA_3": Known(calls=True),
    "QWEN_2_5": Known(calls=True),
    "QWEN_3": Known(thoughts=2, calls=True),
    "QWEN_3_5": Known(answers=2, thoughts=2, calls=True),
    "GEMMA_2": Known(system=False),
    "GEMMA_3": Known(),
    "PHI_3": Known(),
    "PHI_4": Known(),
    "MISTRAL": Known(calls=True),
    "SMOLLM_2": Known(),
    "SMOLLM_3": Known(thoughts=1),
    "OLMO_2": Known(),
    "GPT_OSS": Known(answers=2, thoughts=2, calls=True),
    "DEEPSEEK_R1": Known(answers=2, thoughts=2),
}
ASKED, AGAIN = {"role": "user", "content": "How deep?"}, {"role": "user", "content": "And there?"}
FIRST, SECOND = {"role": "assistant", "content": "Four metres."}, {"role": "assistant", "content": "Six."}
CALL = {"role": "assistant", "content": "", "function_call": {"name": "depth", "arguments": {"at": "pier"}}}
RESULT = {"role": "tool", "content": '{"m": 4}'}
TWO = [ASKED, FIRST, AGAIN, SECOND]
THOUGHTS = [ASKED, FIRST | {"thinking": "The pier."}, AGAIN, SECOND | {"thinking": "The bay."}]
CALLS = [ASKED, CALL, RESULT, FIRST]


def marked(tokenizer: Any, name: str, messages: list[dict[str, Any]], **beside: Any) -> list[Marked]:
    template = getattr(families, name).translate(UNMARKED)
    chat = ChatReader("messages").read(messages, **beside)
    return ChatMarker(tokenizer, Prompting("chat", chat_template=template)).mark(chat)


def words(texts: list[Marked]) -> list[str]:
    return [one.text[slice(*span)] for one in texts for span in one.spans]


def by_transformers(tokenizer: Any, name: str, chat: Chat) -> list[str]:
    """What transformers marks in one rendering of the template with marks around what an answer writes."""
    marks = getattr(families, name).replace("⟪", "{% generation %}").replace("⟫", "{% endgeneration %}")
    texts, spans = render_jinja_template(
        [chat.messages],
        tools=[*chat.tools] or None,
        chat_template=marks,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    return [texts[0][start:stop] for start, stop in spans[0]]


@pytest.mark.parametrize("name", KNOWN)
def test_answers_are_what_transformers_marks_where_one_text_holds_them(name, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    texts = marked(tokenizer, name, TWO)
    assert len(texts) == KNOWN[name].answers
    theirs = by_transformers(tokenizer, name, Chat(TWO))
    if len(texts) == 1:
        assert words(texts) == theirs
    else:
        # each is the last of its text, and written as the last of a chat is
        alone = [by_transformers(tokenizer, name, Chat(TWO[:2]))[-1], theirs[-1]]
        assert [found.endswith(one.split("</think>\n\n")[-1]) for found, one in zip(words(texts), alone, strict=True)]
        assert all("<|im_end|>" in found for found in words(texts))


@pytest.mark.parametrize("name", KNOWN)
def test_thoughts_of_every_answer_are_learnt_behind_what_asks_for_them(name, tokenizer_of):
    tokenizer, known = tokenizer_of("qwen3"), KNOWN[name]
    if not known.thoughts:
        with pytest.raises(Unusable, match="has thoughts"):
            marked(tokenizer, name, THOUGHTS)
        return
    texts = marked(tokenizer, name, THOUGHTS)
    assert len(texts) == known.thoughts
    for found, thought, answer in zip(words(texts), ["The pier.", "The bay."], ["Four metres.", "Six."], strict=True):
        assert 0 <= found.index(thought) < found.index(answer)
        assert found.endswith(f"{answer}<|im_end|>")
    # the text that a later answer stands in shows no earlier thought, as at inference
    assert len(texts) == 1 or "The pier." not in texts[-1].text


@pytest.mark.parametrize("name", KNOWN)
def test_calls_are_what_transformers_marks_and_results_are_not_learnt(name, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    if not KNOWN[name].calls:
        with pytest.raises(Unusable, match=r"not write the call|no place for tools|must alternate|leaves out"):
            marked(tokenizer, name, CALLS, tools=TOOLS)
        return
    (text,) = marked(tokenizer, name, CALLS, tools=TOOLS)
    call, answer = words([text])
    assert "depth" in call and "pier" in call  # noqa: PT018
    assert '"m"' not in call + answer
    assert "Four metres." in answer
    chat = ChatReader("messages").read(CALLS, tools=TOOLS)
    marks = by_transformers(tokenizer, name, chat)
    assert [call, answer] == [one.removeprefix("<think>\n") if name == "QWEN_3_5" else one for one in marks]


@pytest.mark.parametrize("name", KNOWN)
def test_a_system_turn_is_written_or_refused_and_nothing_of_it_is_learnt(name, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    if not KNOWN[name].system:
        with pytest.raises(Unusable, match="System role not supported"):
            marked(tokenizer, name, TWO, system="Be terse.")
        return
    texts = marked(tokenizer, name, TWO, system="Be terse.")
    assert all("Be terse." in one.text for one in texts)
    assert not any("terse" in found for found in words(texts))


@pytest.mark.parametrize("name", ["GEMMA_2", "GEMMA_3"])
def test_neighbours_of_one_role_are_made_one_where_the_template_refuses_them(name, tokenizer_of):
    template = getattr(families, name).translate(UNMARKED)
    marker = ChatMarker(tokenizer_of("qwen3"), Prompting("chat", chat_template=template))
    (text,) = marker.mark(Chat([ASKED, AGAIN, FIRST, SECOND]))
    assert words([text]) == ["Four metres.\n\nSix.<|im_end|>"]
    assert marker.renderer.num_joined == 1
    (alike,) = marked(tokenizer_of("qwen3"), "QWEN_2_5", [ASKED, AGAIN, FIRST, SECOND])
    assert words([alike]) == ["Four metres.<|im_end|>", "Six.<|im_end|>"]


@pytest.mark.parametrize("name", ["QWEN_3", "QWEN_3_5", "SMOLLM_3"])
def test_what_a_template_is_told_stands_in_every_text_and_contradicts_no_thought(name, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    template = getattr(families, name).translate(UNMARKED)
    prompting = Prompting("chat", chat_template=template, chat_template_kwargs={"enable_thinking": False})
    texts = ChatMarker(tokenizer, prompting).mark(Chat(TWO))
    assert all("</think>" in one.text[: one.spans[0][0]] for one in texts)
    assert words(texts) == ["Four metres.<|im_end|>", "Six.<|im_end|>"]
    # a row is told otherwise than the others
    told = ChatReader("messages").read(THOUGHTS, kwargs={"enable_thinking": True})
    assert "The bay." in words(ChatMarker(tokenizer, prompting).mark(told))[-1]
    with pytest.raises(Unusable, match=r"asks for none|empty thought before"):
        ChatMarker(tokenizer, prompting).mark(ChatReader("messages").read(THOUGHTS))
    with pytest.raises(Unusable, match="does not read enable_thinkin "):
        ChatMarker(tokenizer, prompting).mark(Chat(TWO, kwargs={"enable_thinkin": True}))
