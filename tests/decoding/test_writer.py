"""The prompt that is sent is the one that stood in training, token for token; and it is never empty or doubled."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from ftkit.commands.generate import answer_row
from ftkit.data.chat.templates import CHAT_TEMPLATES
from ftkit.data.chat.turns import Chat
from ftkit.data.dataset import Split
from ftkit.data.prompting import Prompting
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.prompts import Ask, file_prompts, form_of, typed_prompts
from ftkit.decoding.writer import Writer, first_words, generate, make_writer, open_writer, prompt_ids
from ftkit.errors import UserError
from ftkit.inputs.documents import training_sequences
from ftkit.methods.lora import LoraMethod
from ftkit.methods.lora_layers import attach_language_lora
from ftkit.methods.prompt_tuning import PromptTuningMethod, attach_prompt_tuning
from ftkit.models.builtin.builtin import resolve
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.models.saved_lm import load_saved_lm, save_language_model
from tests.fixtures.tiers import slow_but

Make = Callable[..., Writer]

DECODERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
QUESTION = {"q": "How far is the pier?", "c": "by the sea"}


def save_tiny(family: str, folder: Path, kind: str = "full", prompting: Prompting | None = None) -> Path:
    checkpoint = Checkpoint(family, Path(resolve(f"builtin:tiny-{family}")))
    torch.manual_seed(0)
    model: Any = load_causal_lm(checkpoint, dtype=torch.float32)
    tokenizer = load_tokenizer_for_lm(checkpoint)
    if kind == "lora":
        model = attach_language_lora(model, LoraMethod(type="lora"))
    if kind == "prompt_tuning":
        model = attach_prompt_tuning(model, PromptTuningMethod(type="prompt_tuning", num_virtual_tokens=4), tokenizer)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    save_language_model(model, folder, base_name=str(checkpoint.folder))
    tokenizer.save_pretrained(folder)
    if prompting is not None:
        (folder / PROMPTING_FILE).write_text(json.dumps(prompting.to_dict()))
    return folder


@pytest.fixture(scope="session")
def writer_of(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A tiny model, full unless said otherwise, with a form of inputs."""
    folders: dict[tuple[str, str], Path] = {}

    def make(family: str, prompting: Prompting, kind: str = "full") -> Writer:
        if (family, kind) not in folders:
            folders[family, kind] = save_tiny(family, tmp_path_factory.mktemp("models") / family, kind)
        saved = load_saved_lm(folders[family, kind], dtype=torch.float32, device=torch.device("cpu"))
        return make_writer(saved, prompting)

    return make


def trained_prompt(tokenizer: Any, prompting: Prompting, **columns: str) -> list[int]:
    """The tokens before the first learnt one of the only example."""
    table = pa.table({name: [value] for name, value in columns.items()})
    found = training_sequences(tokenizer, Split("train", table, "x"), prompting, max_length=512, packing=False)
    learnt = found.sequences.learnt.tolist()
    assert True in learnt
    ids: list[int] = found.sequences.ids[: learnt.index(True)].tolist()
    return ids


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize(
    "template", ["{q}\n<learn>{a}", "Q: {q} ({c})\nA:<learn> {a}", "{q} <learn>{a}", "é{q}：<learn>{a}"]
)
def test_a_completion_is_asked_with_the_tokens_before_the_learnt_part(
    family: str, template: str, writer_of: Make
) -> None:
    prompting = Prompting("completion", template)
    writer = writer_of(family, prompting)
    fields = {name: QUESTION[name] for name in prompting.prompt_fields}
    prompt = prompting.render_prompt(fields)
    expected = trained_prompt(writer.saved.tokenizer, prompting, prompt=prompt, completion="Two miles.")
    typed = typed_prompts(
        prompting, [] if len(fields) > 1 else [QUESTION["q"]], fields if len(fields) > 1 else {}, system=None
    )
    assert prompt_ids(writer, typed[0]) == expected


@pytest.mark.parametrize(
    ("family", "template"), [*((family, "plain") for family in DECODERS), ("qwen3", "own"), ("smollm3", "own")]
)
@pytest.mark.parametrize("system", [None, "You are terse."])
def test_a_chat_is_asked_with_the_tokens_before_the_assistants_turn(
    family: str, template: str, system: str | None, writer_of: Make
) -> None:
    prompting = Prompting("chat", chat_template=None if template == "own" else CHAT_TEMPLATES["plain"])
    writer = writer_of(family, prompting)
    ask = typed_prompts(prompting, ["How far?"], {}, system=system)[0]
    assert ask.chat is not None
    messages = [*ask.chat.messages, {"role": "assistant", "content": "Two miles."}]
    expected = trained_prompt(writer.saved.tokenizer, prompting, messages=json.dumps(messages))
    assert prompt_ids(writer, ask) == expected
    assert prompt_ids(writer, ask).count(writer.saved.tokenizer.bos_token_id) <= (family != "smollm3")


@pytest.mark.parametrize("family", DECODERS)
def test_a_text_has_one_begin_token_where_training_put_one_even_when_it_is_typed(family: str, writer_of: Make) -> None:
    writer = writer_of(family, Prompting("text"))
    tokenizer: Any = writer.saved.tokenizer
    ids = prompt_ids(writer, Ask("the ship"))
    assert ids == tokenizer("the ship").input_ids
    if family in ("llama", "gemma3"):
        assert ids[0] == tokenizer.bos_token_id
        assert prompt_ids(writer, Ask(f"{tokenizer.bos_token}the ship")) == ids


@pytest.mark.parametrize("family", DECODERS)
def test_an_empty_text_is_the_begin_token_alone_or_refused(family: str, writer_of: Make) -> None:
    writer = writer_of(family, Prompting("text"))
    begin = writer.saved.tokenizer.bos_token_id
    if begin is None:
        with pytest.raises(UserError, match="the prompt is empty, and this tokenizer has no begin token"):
            prompt_ids(writer, Ask(""))
    else:
        assert prompt_ids(writer, Ask("")) == [begin]


def test_a_prompt_longer_than_the_model_has_positions_is_refused(writer_of: Make) -> None:
    writer = writer_of("gpt2", Prompting("text"))
    with pytest.raises(UserError, match=r"the prompt has \d,\d\d\d tokens, and the model has positions for 1,024"):
        list(generate(writer, [Ask("short"), Ask("the ship " * 900)], Decoding()))


def test_writing_ends_at_the_token_that_ends_a_turn(writer_of: Make) -> None:
    template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|endoftext|>\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    writer = writer_of("qwen3", Prompting("chat", chat_template=template))
    tokenizer = writer.saved.tokenizer
    assert writer.stop_ids == {tokenizer.convert_tokens_to_ids("<|endoftext|>"), tokenizer.eos_token_id}


@pytest.mark.parametrize(
    ("kind", "family"),
    slow_but(
        [*product(["full"], DECODERS), ("lora", "gemma3"), ("prompt_tuning", "gpt2")],
        product(["full", "lora", "prompt_tuning"], DECODERS),
    ),
)
def test_every_family_by_every_method_writes_and_the_pieces_are_the_text(
    family: str, kind: str, writer_of: Make
) -> None:
    writer = writer_of(family, Prompting("text"), kind)
    pieces: list[str] = []
    found = list(generate(writer, [Ask("the ship")], Decoding(max_new_tokens=8), write=pieces.append))
    assert len(found) == 1
    assert "".join(pieces) == found[0].text
    assert found[0].num_tokens <= 8
    assert writer.saved.method == kind


def test_the_base_is_asked_in_the_form_of_its_adapter(writer_of: Make, tmp_path: Path) -> None:
    prompting = Prompting("completion", "{q}\n<learn>{a}")
    folder = save_tiny("llama", tmp_path / "adapted", "lora", prompting)
    ask = typed_prompts(form_of(folder).prompting, ["How far?"], {}, system=None)
    adapted, base = (
        open_writer(folder, prompting, use_cpu=True, dtype="float32", with_adapter=there) for there in (True, False)
    )
    plain = writer_of("llama", prompting)
    assert prompt_ids(base, ask[0]) == prompt_ids(adapted, ask[0])
    answers = [next(generate(writer, ask, Decoding(max_new_tokens=8))).text for writer in (adapted, base, plain)]
    assert answers[1] == answers[2]
    assert answers[0] != answers[1]
    with pytest.raises(UserError, match="is no adapter: every weight was trained, so its base is not in it"):
        open_writer(save_tiny("llama", tmp_path / "full"), prompting, use_cpu=True, with_adapter=False)


def test_more_prompts_than_a_chunk_are_answered_in_order_and_drawn_apart(writer_of: Make) -> None:
    writer = writer_of("llama", Prompting("text"))
    words = ["ship", "pier", "salt", "rope", "sail"]
    asks = [Ask(f"the {words[number % 5]}") for number in range(130)]
    advanced: list[int] = []
    greedy = list(generate(writer, asks, Decoding(max_new_tokens=3), advance=advanced.append))
    assert [answer.text for answer in greedy[:5]] * 26 == [answer.text for answer in greedy]
    assert sum(advanced) == 130
    drawn = list(generate(writer, [asks[0]] * 130, Decoding(max_new_tokens=8, do_sample=True)))
    assert len({answer.text for answer in drawn}) > 120


def test_a_folder_says_its_form_or_what_is_assumed_is_said(tmp_path: Path) -> None:
    prompting = Prompting("completion", "{q}\n<learn>{a}", completion_only_loss=False)
    assert form_of(save_tiny("llama", tmp_path / "said", prompting=prompting)) == (prompting, None)
    assert form_of(tmp_path / "said", raw=True) == (Prompting("text"), None)
    bare = form_of(save_tiny("llama", tmp_path / "bare"))
    assert bare.prompting == Prompting("text")
    assert "does not say how it was trained: prompts are sent as they are" in str(bare.note)
    chatty = form_of(save_tiny("qwen3", tmp_path / "chatty"))
    assert chatty.prompting == Prompting("chat")
    assert "prompts are the user's turn in its chat template (--raw: as they are)" in str(chatty.note)
    (tmp_path / "said" / PROMPTING_FILE).write_text('{"kind": "text", "colour": 1}')
    with pytest.raises(UserError, match=r"prompting.json it cannot be read: .*; add --raw"):
        form_of(tmp_path / "said")


def test_the_first_words_follow_what_stood_before_the_learnt_part(writer_of: Make) -> None:
    completion = Prompting("completion", "{q}\n<learn>{a}")
    chat = Prompting("chat", chat_template=CHAT_TEMPLATES["plain"])
    turns = [{"role": "user", "content": "How far?"}, {"role": "assistant", "content": "Two miles."}]
    cases = [
        (completion, {"prompt": "How far?\n", "completion": "Two miles."}, Ask("How far?\n")),
        (chat, {"messages": json.dumps(turns)}, Ask(chat=Chat(turns[:1]))),
        (Prompting("text"), {"text": "a b c d e f g h i j"}, Ask("a b c d e f g h")),
    ]
    for prompting, row, ask in cases:
        writer = writer_of("llama", prompting)
        saved = load_saved_lm(writer.saved.base.folder, dtype=torch.float32, device=torch.device("cpu"))
        told = type(saved)(saved.model, saved.tokenizer, prompting.to_dict(), saved.base, saved.method)
        expected = next(generate(writer, [ask], Decoding(max_new_tokens=5))).text
        assert first_words(told, row, max_new_tokens=5) == expected


def test_a_row_keeps_its_columns_beside_the_answer(writer_of: Make) -> None:
    answer = next(generate(writer_of("llama", Prompting("text")), [Ask("the ship")], Decoding(max_new_tokens=3)))
    row = answer_row(Ask("x", values={"id": 7, "generated": "old", "input_generated": "older"}), answer)
    assert row == {
        "id": 7,
        "input_generated": "older",
        "input_input_generated": "old",
        "generated": answer.text,
        "new_tokens": answer.num_tokens,
        "stopped": answer.stopped,
    }


CHAT = Prompting("chat", chat_template=CHAT_TEMPLATES["plain"])
TWO = Prompting("completion", "{q} {c}\n<learn>{a}")
ONE = Prompting("completion", "{q}\n<learn>{a}")


@pytest.mark.parametrize(
    ("prompting", "name", "content", "expected"),
    [
        (Prompting("text"), "a.txt", "the ship\nthe pier\n", ["the ship", "the pier"]),
        (Prompting("text"), "a.csv", "id,text\n1,the ship\n", ["the ship"]),
        (ONE, "a.txt", "How far?\n", ["How far?\n"]),
        (ONE, "a.csv", "id,q,a\n1,How far?,Two miles.\n", ["How far?\n"]),
        (ONE, "a.jsonl", '{"q": 12}\n{"q": "x"}\n', ["12\n", "x\n"]),
        (ONE, "a.jsonl", '{"prompt": "How far?", "id": 3}\n', ["How far?\n"]),
        (TWO, "a.jsonl", '{"q": "How far?", "c": "", "id": 3}\n', ["How far? \n"]),
    ],
)
def test_rows_of_a_file_become_the_prompts_of_training(
    prompting: Prompting, name: str, content: str, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    assert [ask.text for ask in file_prompts(prompting, tmp_path / name)] == expected


def test_chats_of_a_file_are_asked_up_to_their_last_answer(tmp_path: Path) -> None:
    turns = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user", "assistant")]
    older = [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]
    rows: list[dict[str, object]] = [
        {"messages": turns},
        {"messages": json.dumps(turns[:4])},
        {"conversations": older},
        {"text": "u"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asks = file_prompts(CHAT, tmp_path / "a.jsonl")
    one = Chat([{"role": "user", "content": "u"}])
    assert [ask.chat for ask in asks] == [Chat(turns[:4]), Chat(turns[:4]), one, one]
    assert asks[0].shown == "u"


@pytest.mark.parametrize(
    ("prompting", "content", "message"),
    [
        (TWO, '{"q": "x"}', r"a.jsonl:1 there is no column q, c; columns here: q"),
        (ONE, '{"x": "x", "y": 1}', r"a.jsonl:1 there is no column q, nor one called prompt; columns here: x, y"),
        (ONE, '{"q": "x"}\n{"q": null}', r"a.jsonl:2 q is null"),
        (ONE, '{"q": [1]}', r"a.jsonl:1 q is a list instead of a string"),
        (CHAT, '{"messages": "{"}', r"a.jsonl:1 column messages is no JSON"),
        pytest.param(CHAT, json.dumps({"messages": "[" * 100_000}), "messages is no JSON", id="deep"),
        (CHAT, '{"messages": []}', r"a.jsonl:1 column messages holds no messages"),
        (CHAT, '{"messages": [{"role": "assistant", "content": "x"}]}', "has nothing before the assistant's turn"),
        (CHAT, '{"messages": [{"role": "king", "content": "x"}]}', r"a.jsonl:1 message 1 has the role 'king'"),
        (CHAT, '{"text": ""}', r"a.jsonl:1 the prompt is empty"),
        (ONE, "{", r"a.jsonl:1 "),
    ],
)
def test_a_row_that_is_no_prompt_is_named_by_its_line(
    prompting: Prompting, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text(content + "\n")
    with pytest.raises(UserError, match=message):
        file_prompts(prompting, tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("prompting", "prompts", "fields", "system", "message"),
    [
        (TWO, ["x"], {}, None, r"trained with the columns q, c; ask it with --field q=... --field c=..."),
        (TWO, [], {"q": "x"}, None, "the field c of the prompt is missing"),
        (TWO, [], {"q": "x", "z": "y"}, None, "the prompt has no field z"),
        (TWO, [], {"q": "", "c": " "}, None, "every field of the prompt is empty"),
        (ONE, ["x"], {"q": "x"}, None, "was trained with the columns q"),
        (ONE, [""], {}, None, "the prompt is empty; write what the model is to answer"),
        (ONE, ["x"], {}, "be terse", "have no system's turn; leave --system out"),
        (Prompting("text"), [], {"q": "x"}, None, "this model reads plain texts, which have no fields; use --prompt"),
        (CHAT, [""], {}, None, "the prompt is empty"),
        (CHAT, [], {}, None, "there is no prompt"),
    ],
)
def test_what_is_typed_is_refused_where_it_makes_no_prompt_of_the_form(
    prompting: Prompting, prompts: list[str], fields: dict[str, str], system: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        typed_prompts(prompting, prompts, fields, system=system)
