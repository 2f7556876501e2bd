from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from ftkit.data.chat.marking import ChatMarker, Marked, end_of_turn
from ftkit.data.chat.rows import ChatReader
from ftkit.data.chat.templates import CHAT_TEMPLATES
from ftkit.data.chat.turns import LEARNT_KEY, Chat
from ftkit.data.dataset import Split
from ftkit.data.prompting import Prompting, at_moment
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError
from ftkit.inputs.documents import training_sequences
from ftkit.inputs.sequences import Tokenized

Turns = list[tuple[str, str]]

ONE = [("user", "How far?"), ("assistant", "Two miles 🙂.")]
SEVERAL = [
    ("system", "Be brief."),
    ("user", "Hi"),
    ("assistant", "Hello\nyou"),
    ("user", "And?"),
    ("assistant", "  Bye "),
]
PLAIN = Prompting("chat", chat_template=CHAT_TEMPLATES["plain"])

# The templates of three well-known models in short: Llama 3 (a header, an end-of-turn token that is not the end of a
# text), Mistral (nothing before an answer), Qwen 3 (an empty thought before the last answer).
HEADER = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n\n{{ m.content | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)
INST = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
    "{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
THINKS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BEGINS_TURNS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}"
)


def messages_of(turns: Turns) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def marked_by(tokenizer: Any, prompting: Prompting, messages: list[dict[str, Any]]) -> list[Marked]:
    return ChatMarker(tokenizer, prompting).mark(Chat(messages))


def tokenized(tokenizer: Any, prompting: Prompting, *chats: Turns, max_length: int = 512) -> Tokenized:
    table = pa.table({"messages": pa.array([json.dumps(messages_of(turns)) for turns in chats], pa.string())})
    split = Split("train", table, "a.jsonl")
    return training_sequences(tokenizer, split, prompting, max_length=max_length, packing=False)


def runs(tokenizer: Any, found: Tokenized) -> list[list[str]]:
    """The learnt stretches of each sequence, decoded."""
    sequences = found.sequences
    texts = []
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        stretches: list[list[int]] = []
        before = False
        for token, learnt in zip(sequences.ids[start:stop].tolist(), sequences.learnt[start:stop], strict=True):
            if learnt and not before:
                stretches.append([])
            if learnt:
                stretches[-1].append(token)
            before = bool(learnt)
        texts.append([tokenizer.decode(ids) for ids in stretches])
    return texts


def test_of_a_plain_chat_the_answers_and_their_end_tokens_are_learnt(tokenizer, tokenizer_of):
    eos = tokenizer.eos_token
    expected = [[f" Two miles 🙂.{eos}"], [f" Hello\nyou{eos}", f"   Bye {eos}"]]
    # decoding drops the space that this kind sets before every text
    if tokenizer is tokenizer_of("sentencepiece"):
        expected = [[text[1:] for text in texts] for texts in expected]
    assert runs(tokenizer, tokenized(tokenizer, PLAIN, ONE, SEVERAL)) == expected


@pytest.mark.parametrize("family", ["qwen3", "smollm3"])
def test_a_template_with_marks_and_one_without_teach_the_same(family, tokenizer_of):
    tokenizer = tokenizer_of(family)
    own, ours = Prompting("chat"), Prompting("chat", chat_template=CHAT_TEMPLATES["chatml"])
    assert "generation" not in tokenizer.chat_template.replace("add_generation_prompt", "")
    first, second = (tokenized(tokenizer, prompting, ONE, SEVERAL).sequences for prompting in (own, ours))
    assert first.ids.tolist() == second.ids.tolist()
    assert first.learnt.tolist() == second.learnt.tolist()
    expected = [["Two miles 🙂.<|im_end|>"], ["Hello\nyou<|im_end|>", "  Bye <|im_end|>"]]
    assert runs(tokenizer, tokenized(tokenizer, own, ONE, SEVERAL)) == expected


@pytest.mark.parametrize("prompting", [PLAIN, Prompting("chat", chat_template=CHAT_TEMPLATES["chatml"])])
@pytest.mark.parametrize("family", ["qwen3", "smollm3"])
def test_a_sequence_begins_with_the_tokens_that_generation_sends(family, prompting, tokenizer_of):
    tokenizer = tokenizer_of(family)
    found = tokenized(tokenizer, prompting, SEVERAL).sequences
    written = ChatMarker(tokenizer, prompting).renderer.written(Chat(messages_of(SEVERAL)))
    for count in (2, 4):
        sent = written.text(count, generation=True)
        ids = tokenizer(sent, add_special_tokens=False)["input_ids"]
        assert found.ids[: len(ids)].tolist() == ids
        assert found.learnt[len(ids)]
        assert not found.learnt[len(ids) - 1]


def test_a_begin_token_stands_once_where_the_model_wants_one(tokenizer):
    ids = tokenized(tokenizer, PLAIN, ONE).sequences.ids
    wanted = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    assert int((ids == tokenizer.bos_token_id).sum()) == (
        1 if wanted else int(tokenizer.bos_token == tokenizer.eos_token)
    )


def test_the_token_that_ends_a_turn_is_learnt_though_it_is_not_the_end_token(tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    prompting = Prompting("chat", chat_template=HEADER.replace("{{ bos_token }}", ""))
    before = tokenizer.eos_token
    tokenizer.eos_token = "<|endoftext|>"
    try:
        assert runs(tokenizer, tokenized(tokenizer, prompting, ONE)) == [["Two miles 🙂.<|im_end|>"]]
        assert end_of_turn(tokenizer, prompting) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    finally:
        tokenizer.eos_token = before


def test_where_no_special_token_ends_a_turn_the_end_token_does(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    bare = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    found = tokenized(tokenizer, Prompting("chat", chat_template=bare), ONE)
    assert runs(tokenizer, found) == [[" Two miles 🙂.<|endoftext|>"]]
    assert found.sequences.ids[-1] == tokenizer.eos_token_id
    assert end_of_turn(tokenizer, Prompting("chat", chat_template=bare)) is None


@pytest.mark.parametrize(
    ("family", "template", "answers"),
    [
        ("llama", INST, [" Hello\nyou<|end_of_text|>", "   Bye <|end_of_text|>"]),
        ("qwen3", THINKS, ["Hello\nyou<|im_end|>", "<think>\n\n</think>\n\n  Bye <|im_end|>"]),
        ("qwen3", BEGINS_TURNS, [" Hello\nyou", "   Bye<|im_end|>"]),
    ],
    ids=["nothing stands before it", "what is set before it", "the mark of the next turn is not its end"],
)
def test_an_answer_is_learnt_as_the_model_writes_it(family, template, answers, tokenizer_of):
    tokenizer = tokenizer_of(family)
    assert runs(tokenizer, tokenized(tokenizer, Prompting("chat", chat_template=template), SEVERAL)) == [answers]


def test_a_last_word_of_the_user_is_read_and_ends_nothing(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    found = tokenized(tokenizer, PLAIN, [*ONE, ("user", "Thanks")])
    assert tokenizer.decode(found.sequences.ids).endswith("User: Thanks\n")
    assert runs(tokenizer, found) == [[" Two miles 🙂.<|endoftext|>"]]


def test_every_token_but_the_first_is_learnt_when_asked_for(tokenizer_of):
    prompting = Prompting("chat", chat_template=CHAT_TEMPLATES["plain"], completion_only_loss=False)
    found = tokenized(tokenizer_of("gpt2"), prompting, ONE).sequences
    assert found.learnt.tolist() == [False] + [True] * (len(found.ids) - 1)


def test_bytes_of_a_chat_are_those_of_its_text_without_the_marks(tokenizer_of):
    found = tokenized(tokenizer_of("qwen3"), Prompting("chat"), ONE).sequences
    assert int(found.num_bytes.sum()) == len("user\nHow far?\nassistant\nTwo miles 🙂.\n".encode())
    assert int(found.num_bytes[found.learnt].sum()) == len("Two miles 🙂.".encode())


def test_a_chat_whose_answers_are_cut_off_is_left_out_and_counted(tokenizer_of):
    found = tokenized(tokenizer_of("gpt2"), PLAIN, ONE, [("user", "long " * 50), ("assistant", "x")], max_length=40)
    assert (len(found.sequences), found.num_unlearnt, found.num_truncated) == (1, 1, 1)


def refusal(tokenizer: Any, prompting: Prompting, turns: Turns = ONE) -> UserError:
    with pytest.raises(UserError) as caught:
        tokenized(tokenizer, prompting, turns)
    return caught.value


def test_chatml_is_refused_where_its_marks_are_no_tokens(tokenizer_of):
    error = refusal(tokenizer_of("gpt2"), Prompting("chat", chat_template=CHAT_TEMPLATES["chatml"]))
    assert "<|im_start|> and <|im_end|>" in error.problem
    assert "data.chat_template: plain" in str(error.fix)


def test_a_tokenizer_without_a_template_asks_for_one(tokenizer_of):
    error = refusal(tokenizer_of("gpt2"), Prompting("chat"))
    assert "no chat template" in error.problem
    assert "data.chat_template: plain" in str(error.fix)


def test_a_template_that_changes_its_prompt_with_the_answer_is_refused(tokenizer_of):
    fickle = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    error = refusal(tokenizer_of("gpt2"), Prompting("chat", chat_template=fickle))
    assert "generation" in error.problem
    assert "data.chat_template" in str(error.fix)


def test_what_a_template_says_when_it_refuses_a_chat_is_passed_on_with_the_chats_number(tokenizer_of):
    strict = "{{ raise_exception('no system role, please') if messages[0].role == 'system' }}" + INST
    error = refusal(tokenizer_of("gpt2"), Prompting("chat", chat_template=strict), SEVERAL)
    assert "no system role, please" in error.problem
    assert error.where == "a.jsonl: train chat 1"


MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<A>{% generation %}{{ m.content }}{{ eos_token }}"
    "{% endgeneration %}{% else %}<U>{{ m.content }}{% endif %}{% endfor %}"
)


ASKS = "{% if add_generation_prompt %}<A>{% endif %}"


@pytest.mark.parametrize("asked", ["", "{% if add_generation_prompt %}<B>{% endif %}"])
def test_a_template_that_asks_otherwise_than_it_writes_is_refused(asked, tokenizer_of):
    tokenizer = tokenizer_of("olmo2")
    with pytest.raises(UserError, match="asked otherwise than it was taught"):
        tokenized(tokenizer, Prompting("chat", chat_template=MARKED + asked), ONE)
    right = Prompting("chat", chat_template=MARKED + ASKS)
    assert runs(tokenizer, tokenized(tokenizer, right, ONE)) == [[f"Two miles 🙂.{tokenizer.eos_token}"]]


def test_answers_before_the_last_that_end_in_no_token_are_counted(tokenizer_of):
    tokenizer = tokenizer_of("olmo2")
    open_ends = Prompting("chat", chat_template=MARKED.replace("{{ eos_token }}", "") + ASKS)
    assert tokenized(tokenizer, open_ends, SEVERAL, ONE).num_open_turns == 1
    assert tokenized(tokenizer, Prompting("chat", chat_template=MARKED + ASKS), SEVERAL, ONE).num_open_turns == 0


LAST = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if loop.last and not add_generation_prompt %}"
    "{{ eos_token }}{% else %}\n{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_where_only_the_last_answer_has_an_end_each_is_the_last_of_an_example(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    found = tokenized(tokenizer, Prompting("chat", chat_template=LAST), ONE, SEVERAL)
    assert runs(tokenizer, found) == [
        ["Two miles 🙂.<|endoftext|>"],
        ["Hello\nyou<|endoftext|>"],
        ["  Bye <|endoftext|>"],
    ]
    assert found.sequences.rows.tolist() == [0, 1, 1]
    assert found.num_open_turns == 0
    assert "1 of 2 train chats became several examples (3 in all, 1.50 a chat)" in found.chat_notes("train")[0]


@pytest.mark.parametrize("template", [LAST, HEADER.replace("{{ bos_token }}", ""), INST, THINKS])
@pytest.mark.parametrize("answers", [("ok", "ok ok"), ("end", "im_end"), ("user", "assistant:"), ("a b", "a\n\nb")])
def test_what_is_learnt_are_the_answers_and_no_two_pieces_overlap(template, answers, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    marker = ChatMarker(tokenizer, Prompting("chat", chat_template=template))
    turns = [("user", f"ok {answers[0]} ok"), ("assistant", answers[0]), ("user", "ok"), ("assistant", answers[1])]
    texts = marker.mark(Chat(messages_of(turns)))
    assert all([stop for _, stop in one.spans][:-1] <= [start for start, _ in one.spans][1:] for one in texts)
    learnt = [one.text[slice(*span)] for one in texts for span in one.spans]
    for answer, words in zip(answers, learnt, strict=True):
        written = marker.special.sub("", words).replace("<think>\n\n</think>\n\n", "")
        assert written.strip() == answer


LINES = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|im_end|>\n' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ '<|im_start|>assistant\n' + m.content"
    " + '<|im_end|>\n' }}{% endgeneration %}{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize("template", [LINES, HEADED])
def test_a_line_break_or_a_header_within_the_marks_teaches_what_it_would_outside(template, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    within, outside = (Prompting("chat", chat_template=text) for text in (template, CHAT_TEMPLATES["chatml"]))
    found, expected = (tokenized(tokenizer, prompting, ONE, SEVERAL) for prompting in (within, outside))
    assert runs(tokenizer, found) == runs(tokenizer, expected)
    assert found.num_open_turns == 0
    assert end_of_turn(tokenizer, within) == end_of_turn(tokenizer, outside)


@pytest.mark.parametrize("template", [LINES, HEADED, HEADER.replace("{{ bos_token }}", "")])
def test_a_turn_that_is_not_to_be_learnt_is_read(template, tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    turns = [*messages_of(ONE), *messages_of(SEVERAL[1:])]
    turns[1][LEARNT_KEY] = False
    (marked,) = marked_by(tokenizer, Prompting("chat", chat_template=template), turns)
    learnt = ["".join(marked.text[slice(*span)].split()) for span in marked.spans]
    assert learnt == ["Helloyou<|im_end|>", "Bye<|im_end|>"]


ASKS_FOR_THOUGHTS = THINKS.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
CUTS_THOUGHTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not loop.last %}"
    "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_earlier_answers_that_are_never_asked_for_so_have_examples_of_their_own(tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    found = tokenized(tokenizer, Prompting("chat", chat_template=ASKS_FOR_THOUGHTS), ONE, SEVERAL)
    learnt = [f"\n</think>\n\n{text}<|im_end|>" for text in ("Two miles 🙂.", "Hello\nyou", "  Bye ")]
    assert runs(tokenizer, found) == [[text] for text in learnt]
    assert found.num_unrolled == 1


def test_an_answer_that_the_template_rewrites_is_refused_by_its_number(tokenizer_of):
    thought = [("user", "q"), ("assistant", "<think>so</think>yes"), *SEVERAL[3:]]
    always = CUTS_THOUGHTS.replace(" and not loop.last", "")
    for template in (always, LINES.replace("m.content +", "m.content.split('</think>')[-1] +", 1)):
        error = refusal(tokenizer_of("qwen3"), Prompting("chat", chat_template=template), thought)
        assert "the answer of message 2 otherwise" in error.problem
    found = tokenized(tokenizer_of("qwen3"), Prompting("chat", chat_template=CUTS_THOUGHTS), thought)
    assert runs(tokenizer_of("qwen3"), found) == [["<think>so</think>yes<|im_end|>"], ["  Bye <|im_end|>"]]


def test_white_space_that_a_template_sets_anew_is_no_rewriting(tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    spaced = CUTS_THOUGHTS.replace(
        "{% else %}{{ m.content }}", "{% else %}{{ m.content | replace('</think>', '\n</think>\n\n') }}"
    )
    found = tokenized(
        tokenizer, Prompting("chat", chat_template=spaced), [("user", "q"), ("assistant", "<think>so</think>yes")]
    )
    assert runs(tokenizer, found) == [["<think>so\n</think>\n\nyes<|im_end|>"]]


def test_a_turn_that_the_template_leaves_out_is_refused(tokenizer_of):
    silent = CUTS_THOUGHTS.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
    error = refusal(tokenizer_of("qwen3"), Prompting("chat", chat_template=silent), SEVERAL)
    assert "leaves out or rewrites message 1, of the role system" in error.problem


def test_thoughts_are_written_by_a_template_that_reads_them_and_refused_by_others(tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    reads = THINKS.replace("<think>\n\n</think>", "<think>\n{{ m.reasoning_content }}\n</think>")
    turns = [*messages_of(ONE)]
    turns[1]["reasoning_content"] = "I know"
    (marked,) = marked_by(tokenizer, Prompting("chat", chat_template=reads), turns)
    assert marked.text[slice(*marked.spans[0])] == "<think>\nI know\n</think>\n\nTwo miles 🙂.<|im_end|>"
    (first, second) = marked_by(tokenizer, Prompting("chat", chat_template=reads), [*turns, *messages_of(SEVERAL[1:])])
    assert first == marked
    assert second.text.endswith("Bye <|im_end|>\n")
    with pytest.raises(Unusable, match="message 2 has thoughts"):
        marked_by(tokenizer, Prompting("chat", chat_template=HEADED), turns)
    with pytest.raises(Unusable, match="an empty thought before those"):
        marked_by(tokenizer, Prompting("chat", chat_template=THINKS), turns)


def test_a_template_that_writes_the_date_writes_that_of_its_moment(tokenizer_of):
    tokenizer = tokenizer_of("qwen3")
    for template in (LINES, CUTS_THOUGHTS):
        prompting = Prompting("chat", chat_template="{{ strftime_now('%d %b %Y %H:%M') }}" + template)
        fixed = at_moment(prompting, tokenizer, "2001-02-03T04:05:06")
        assert marked_by(tokenizer, fixed, messages_of(ONE))[0].text.startswith("03 Feb 2001 04:05")
        assert not marked_by(tokenizer, prompting, messages_of(ONE))[0].text.startswith("03 Feb 2001")
        assert at_moment(prompting, tokenizer, None).moment is not None
    assert at_moment(PLAIN, tokenizer, "2001-02-03T04:05:06") == PLAIN


def test_errors_name_messages_by_their_numbers_in_the_file(tokenizer_of):
    alternating = (
        "{% for m in messages %}{% if not loop.first and loop.previtem.role == m.role %}"
        "{{ raise_exception('alternate') }}{% endif %}"
    )
    rewrites = CUTS_THOUGHTS.replace(" and not loop.last", "").replace("{% for m in messages %}", alternating)
    silent = CUTS_THOUGHTS.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
    turns = messages_of([("user", "q"), ("user", "r"), ("assistant", "<think>so</think>yes")])
    chat = ChatReader("messages").read(turns, default_system="Be brief.")
    for template, named in ((rewrites, "answer of message 3 "), (silent, "the system's turn beside the messages")):
        with pytest.raises(Unusable, match=named):
            ChatMarker(tokenizer_of("qwen3"), Prompting("chat", chat_template=template)).mark(chat)
