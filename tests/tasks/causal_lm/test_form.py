from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftkit.data.chat.rendering import ChatBase
from ftkit.data.chat.thoughts import answer_of, has_thoughts
from ftkit.data.chat.turns import Chat, is_learnt
from ftkit.data.dataset import LINE_COLUMN, Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.errors import UserError
from ftkit.models.causal import load_tokenizer_for_lm
from ftkit.models.reading.locating import locate
from ftkit.recipe.schema import ModelSpec
from ftkit.tasks.causal_lm.data_section import CausalData
from ftkit.tasks.causal_lm.form import load_splits

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def load(seed: int = 1, **spec: Any) -> Splits:
    return load_splits(CausalData.model_validate(spec), seed=seed)


def refusal(**spec: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        load(**spec)
    return caught.value


def lines(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def questions(count: int) -> list[dict[str, str]]:
    return [{"question": f"how much is {number}?", "answer": f"{number} it is"} for number in range(count)]


def column(split: Split, name: str) -> list[Any]:
    values: list[Any] = split.table.column(name).to_pylist()
    return values


def everything(splits: Splits, name: str) -> list[Any]:
    return [value for split in splits.all() for value in column(split, name)]


def test_a_text_file_is_one_document_whose_end_is_kept_for_validation(tmp_path: Path) -> None:
    text = "\n".join(f"line {number} of the play" for number in range(200)) + "\n"
    (tmp_path / "play.txt").write_bytes(text.replace("\n", "\r\n").encode())
    splits = load(train_file=str(tmp_path / "play.txt"))
    assert splits.prompting == Prompting("text")
    assert splits.label_names == ()
    train, validation = column(splits.train, "text"), column(splits.validation, "text")
    assert (len(train), len(validation)) == (1, 1)
    assert train[0] + validation[0] == text
    assert train[0].endswith("\n")
    assert 0.08 < len(validation[0]) / len(text) < 0.12
    assert any("of the single document cut off" in note for note in splits.notes)


@pytest.mark.parametrize("separator", ["\n\n", "<|endoftext|>", "\n---\n"])
def test_a_separator_makes_documents_of_a_text_file(tmp_path: Path, separator: str) -> None:
    documents = [f"document {number}\nwith a second line" for number in range(20)]
    file = tmp_path / "all.txt"
    file.write_text(separator.join([*documents[:3], "\n", *documents[3:]]) + "\n", encoding="utf-8")
    splits = load(train_file=str(file), document_separator=separator)
    assert sorted(everything(splits, "text")) == sorted(documents)
    assert len(splits.validation) == 2
    assert any(note.startswith("1 blank text") for note in splits.notes)


def test_a_separator_is_found_across_the_parts_in_which_a_file_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    from ftkit.data.reading import documents

    text = "a\n\n\nb<|end|>ccc<|end|><|end|>d"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    expected = [(1, "a\n\n\nb"), (4, "ccc"), (4, ""), (4, "d")]
    for size in range(1, 12):
        monkeypatch.setattr(documents, "_CHUNK_CHARACTERS", size)
        rows = list(documents.iter_documents(tmp_path / "a.txt", encoding="utf-8", separator="<|end|>"))
        assert [(row.line, row.values["text"]) for row in rows] == expected  # type: ignore[union-attr]


def test_a_broken_byte_is_reported_in_its_line_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine\nstill fine\nnot \xe9 fine\n")
    error = refusal(train_file=str(tmp_path / "a.txt"))
    assert "a.txt:3 byte 0xe9" in str(error)


def test_rows_of_other_files_are_documents(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", [{"text": f"one\ntwo {number}", "id": number} for number in range(30)])
    splits = load(train_file=file, validation_file=file)
    assert column(splits.train, "text") == [f"one\ntwo {number}" for number in range(30)]
    assert splits.train.table.drop_columns(LINE_COLUMN).schema == pa.schema([("text", pa.string())])


def test_prompt_and_completion_are_rendered_by_a_template_that_is_said(tmp_path: Path) -> None:
    splits = load(train_file=lines(tmp_path / "a.jsonl", questions(40)))
    assert splits.prompting == Prompting("completion", "{question}\n<learn>{answer}")
    assert any(repr("{question}\n<learn>{answer}") in note for note in splits.notes)
    pairs = dict(zip(everything(splits, "prompt"), everything(splits, "completion"), strict=True))
    assert pairs == {f"{row['question']}\n": row["answer"] for row in questions(40)}
    given = splits.prompting.render_prompt({"question": "how much is 3?"})
    assert given in pairs


def test_named_columns_and_a_template_come_before_what_could_be_guessed(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": "c", "q": f"q{number}", "a": " yes", "text": "t"} for number in range(20)]
    file = lines(tmp_path / "a.jsonl", rows)
    assert load(train_file=file, prompt_column="q", completion_column="a").prompting == Prompting(
        "completion", "{q}<learn>{a}"
    )
    named = load(train_file=file, template="{q}\n{text}\n<learn>{a}", completion_only_loss=False)
    assert named.prompting == Prompting("completion", "{q}\n{text}\n<learn>{a}", None, False)
    assert sorted(everything(named, "prompt"))[0] == "q0\nt\n"
    assert load(train_file=file, template="{q}: {text}").prompting == Prompting("text", "{q}: {text}")
    assert load(train_file=file, text_column="text", validation_file=file).prompting == Prompting("text")


def test_numbers_and_classes_become_text_in_a_template(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"q": datasets.Value("string"), "n": datasets.Value("int64"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"q": [f"q{number}" for number in range(20)], "n": list(range(20)), "label": [0, 1] * 10}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "a.parquet"))
    splits = load(train_file=str(tmp_path / "a.parquet"), template="{q} {n}:<learn> {label}")
    assert set(zip(everything(splits, "prompt"), everything(splits, "completion"), strict=True)) == {
        (f"q{number} {number}:", " yes" if number % 2 else " no") for number in range(20)
    }


@pytest.mark.parametrize("form", ["list", "json text", "older", "parquet"])
def test_chats_arrive_in_one_form_whatever_the_file_has(tmp_path: Path, form: str) -> None:
    chats = [[{**CHAT[0], "content": f"Hi {number}"}, CHAT[1]] for number in range(20)]
    if form == "parquet":
        padded = [[{**message, "name": None} for message in chat] for chat in chats]
        pq.write_table(pa.table({"messages": padded}), tmp_path / "a.parquet")
        splits = load(train_file=str(tmp_path / "a.parquet"))
    elif form == "older":
        roles = {"user": "human", "assistant": "gpt"}
        older = [[{"from": roles[m["role"]], "value": m["content"]} for m in chat] for chat in chats]
        splits = load(train_file=lines(tmp_path / "a.jsonl", [{"conversations": chat} for chat in older]))
        assert any("20 chats in the older form from/value" in note for note in splits.notes)
    else:
        values = [json.dumps(chat) for chat in chats] if form == "json text" else chats
        splits = load(train_file=lines(tmp_path / "a.jsonl", [{"messages": value} for value in values]))
    assert splits.prompting == Prompting("chat")
    assert sorted(map(json.loads, everything(splits, "messages")), key=str) == sorted(chats, key=str)


def test_a_chat_template_is_one_of_ours_or_a_file(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", [{"messages": [{**CHAT[0], "content": str(n)}, CHAT[1]]} for n in range(9)])
    (tmp_path / "own.jinja").write_text("{{ messages }}", encoding="utf-8")
    own = load(train_file=file, chat_template=str(tmp_path / "own.jinja")).prompting
    plain = load(train_file=file, chat_template="plain").prompting
    assert own is not None
    assert plain is not None
    assert own.chat_template == "{{ messages }}"
    assert "Assistant:" in str(plain.chat_template)
    error = refusal(train_file=lines(tmp_path / "b.jsonl", questions(9)), chat_template="plain")
    assert "data.chat_template is for chats" in error.problem


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": "no json"}, "is no JSON"),
        ({"messages": None}, "messages is null"),
        ({"messages": {"role": "user"}}, "an object instead of a list"),
        ({"messages": [CHAT[0]]}, "no turn of the assistant"),
        ({"messages": []}, "no turn of the assistant"),
        ({"messages": [CHAT[0], "hello"]}, "message 2 is a string"),
        ({"messages": [CHAT[0], {"role": "assistant"}]}, "content of message 2 is null"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": " \n"}]}, "the assistant's, is empty"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": ["part"]}]}, "content of message 2 is a list"),
        ({"messages": [{"role": "bot", "content": "x"}, CHAT[1]]}, "role 'bot'"),
        ({"messages": [{"content": "x"}, CHAT[1]]}, "message 1 has no role"),
        ({"messages": [CHAT[0], {**CHAT[1], "tool_calls": [{"id": 1}]}]}, "the call of message 2 names no function"),
        ({"messages": '[{"role": "assistant", "content": "\\ud83d"}]'}, "half a surrogate pair"),
        ({"other": 1}, "no messages in this row"),
    ],
)
def test_a_chat_that_cannot_be_used_is_reported_with_its_line(tmp_path: Path, row: object, said: str) -> None:
    file = lines(tmp_path / "a.jsonl", [*[{"messages": CHAT}] * 3, row])
    error = refusal(train_file=file, messages_column="messages")
    assert "1 of 4 rows" in error.problem
    assert "a.jsonl:4" in error.problem
    assert said in error.problem


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "answer": ""}, "answer is empty"),
        ({"question": "q", "answer": " \n"}, "answer is empty"),
        ({"question": " ", "answer": "a"}, "question is empty"),
        ({"question": "q", "answer": None}, "answer is null"),
        ({"question": "q"}, "no answer in this row"),
        ({"question": "q", "answer": 1.5}, "answer is the number 1.5 instead of a string"),
        ({"question": "q", "answer": ["a"]}, "answer is a list instead of a string"),
    ],
)
def test_a_row_without_a_prompt_or_a_completion_is_reported_with_its_line(
    tmp_path: Path, row: object, said: str
) -> None:
    file = lines(tmp_path / "a.jsonl", [*questions(30), row])
    error = refusal(train_file=file)
    assert f"a.jsonl:31 {said}" in error.problem
    splits = load(train_file=file, on_bad_row="skip")
    assert len(splits.train) + len(splits.validation) == 30
    assert [(skipped.line, said in skipped.reason) for skipped in splits.skipped] == [(31, True)]


def test_a_column_of_a_template_may_be_empty_when_another_is_not(tmp_path: Path) -> None:
    rows = [{"instruction": f"do {n}", "input": "" if n % 2 else "this", "output": "done"} for n in range(20)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows))
    assert splits.prompting == Prompting("completion", "{instruction}\n{input}\n<learn>{output}")
    assert {"do 1\n\n", "do 2\nthis\n"} <= set(everything(splits, "prompt"))


def test_an_unknown_column_of_a_template_is_answered_with_the_nearest(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", questions(9))
    error = refusal(train_file=file, template="{qestion}<learn>{answer}")
    assert "no such column: qestion" in error.problem
    assert "did you mean question?" in str(error.fix)


def test_a_validation_file_without_a_column_is_refused(tmp_path: Path) -> None:
    train = lines(tmp_path / "a.jsonl", questions(9))
    error = refusal(train_file=train, validation_file=lines(tmp_path / "b.jsonl", [{"question": "q", "reply": "r"}]))
    assert error.problem == "no such column: answer"
    assert str(error.where).endswith("b.jsonl")


def test_data_in_which_nothing_is_clear_is_refused_with_the_columns_and_the_keys(tmp_path: Path) -> None:
    rows = [{"left": f"some words {n}", "right": f"other words {n}"} for n in range(20)]
    error = refusal(train_file=lines(tmp_path / "a.jsonl", rows))
    assert "left" in error.problem
    assert "right" in error.problem
    for key in ("text_column", "prompt_column", "completion_column", "messages_column", "template"):
        assert f"data.{key}" in str(error.fix)


def test_rows_with_the_same_prompt_are_split_off_together(tmp_path: Path) -> None:
    rows = [{"prompt": f"describe {n % 20}", "completion": f"version {n}"} for n in range(200)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows))
    assert not set(column(splits.train, "prompt")) & set(column(splits.validation, "prompt"))
    assert len(splits.validation) == 20
    assert any("rows with the same prompt on one side" in note for note in splits.notes)


def test_rows_are_split_off_though_all_have_one_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": "tell a story", "completion": f"story {n // 2}"} for n in range(100)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows))
    assert len(splits.validation) == 10
    assert not set(column(splits.train, "completion")) & set(column(splits.validation, "completion"))


def test_the_split_depends_on_the_seed_and_on_nothing_else(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", questions(100))
    first, same, other = (column(load(seed, train_file=file).validation, "prompt") for seed in (1, 1, 2))
    assert first == same
    assert first != other
    turned = load(1, train_file=lines(tmp_path / "b.jsonl", questions(100)[::-1]))
    assert sorted(column(turned.validation, "prompt")) == sorted(first)


def test_a_single_document_needs_a_share_and_enough_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one line of text", encoding="utf-8")
    assert "there is one document" in refusal(train_file=str(tmp_path / "a.txt"), validation_size=5).problem
    (tmp_path / "a.txt").write_text("x\n\n\n", encoding="utf-8")
    assert "leaves nothing" in refusal(train_file=str(tmp_path / "a.txt")).problem


def test_samples_are_drawn_from_every_split(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", questions(100))
    splits = load(train_file=file, max_train_samples=7, max_eval_samples=3)
    assert (len(splits.train), len(splits.validation)) == (7, 3)


def test_a_csv_file_is_read_with_its_encoding_and_delimiter(tmp_path: Path) -> None:
    rows = "question;answer\n" + "".join(f"café {n}?;oui {n}\n" for n in range(20))
    (tmp_path / "a.csv").write_bytes(rows.encode("cp1252"))
    splits = load(train_file=str(tmp_path / "a.csv"), encoding="cp1252", delimiter=";")
    assert "café 3?\n" in everything(splits, "prompt")


def test_a_folder_and_a_builtin_set_are_read_like_files(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    lines(tmp_path / "set" / "train.jsonl", questions(9))
    lines(tmp_path / "set" / "dev.jsonl", questions(3))
    splits = load(dataset_name=str(tmp_path / "set"))
    assert (len(splits.train), len(splits.validation)) == (9, 3)
    pydoc = load(dataset_name="builtin:pydoc")
    assert pydoc.prompting == Prompting("text")
    assert pydoc.test is not None


def test_a_test_set_without_answers_is_left_out_when_nobody_named_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    lines(tmp_path / "set" / "train.jsonl", questions(30))
    lines(tmp_path / "set" / "test.jsonl", [{**row, "answer": ""} for row in questions(3)])
    splits = load(dataset_name=str(tmp_path / "set"))
    assert splits.test is None
    assert any("there is no test set" in note for note in splits.notes)
    assert "answer is empty" in refusal(dataset_name=str(tmp_path / "set"), test_split="test").problem


def test_hashes_tell_language_data_apart_and_need_no_labels(tmp_path: Path) -> None:
    first = load(train_file=lines(tmp_path / "a.jsonl", questions(20))).train
    second = load(train_file=lines(tmp_path / "b.jsonl", [*questions(19), {"question": "x", "answer": "y"}])).train
    assert first.fingerprint != second.fingerprint
    assert len(first.keys) == len(first.prompt_keys) == len(first)


def test_chats_are_the_same_when_they_differ_in_case_and_spacing_only() -> None:
    spellings = ["Hi\nthere", "hi there", "Hi, there"]
    rows = [json.dumps([{"role": "user", "content": text}, CHAT[1]]) for text in spellings]
    keys = Split("train", pa.table({"messages": rows}), "a").keys
    assert keys[0] == keys[1] != keys[2]
    answers = [json.dumps([CHAT[0], {"role": "assistant", "content": text}]) for text in ("a", "b")]
    split = Split("train", pa.table({"messages": answers}), "a")
    assert split.keys[0] != split.keys[1]
    assert split.prompt_keys[0] == split.prompt_keys[1]


def test_a_template_whose_prompt_ends_in_a_space_is_told_the_better_one(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", questions(20))
    told = load(train_file=file, template="{question} A: <learn>{answer}").notes
    assert any("'{question} A:<learn> {answer}'" in note for note in told)
    quiet = load(train_file=file, template="{question} A:<learn> {answer}").notes
    assert not any("ends in a space" in note for note in quiet)


CUTS_THOUGHTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_chat_that_its_template_rewrites_is_a_bad_row_with_its_line(tmp_path: Path) -> None:
    chats = ChatBase(lambda: load_tokenizer_for_lm(locate(ModelSpec(name_or_path="builtin:tiny-qwen3"))))
    thinks = [CHAT[0], {"role": "assistant", "content": "<think>so</think>yes"}]
    rows = [{"messages": thinks if row == 41 else [{**CHAT[0], "content": f"Hi {row}"}, CHAT[1]]} for row in range(60)]
    (tmp_path / "cut.jinja").write_text(CUTS_THOUGHTS)
    spec = {"train_file": lines(tmp_path / "a.jsonl", rows), "chat_template": str(tmp_path / "cut.jinja")}
    with pytest.raises(UserError) as caught:
        load_splits(CausalData.model_validate(spec), seed=1, chats=chats)
    assert "a.jsonl:42 the chat template writes the answer of message 2 otherwise" in caught.value.problem
    assert "data.on_bad_row: skip" in caught.value.problem
    splits = load_splits(CausalData.model_validate(spec | {"on_bad_row": "skip"}), seed=1, chats=chats)
    assert [row.line for row in splits.skipped] == [42]
    assert sum(map(len, splits.all())) == 59


def test_the_moment_of_a_run_is_part_of_what_it_is_made_of(tmp_path: Path) -> None:
    rows = [{"messages": [{**CHAT[0], "content": f"Hi {row}"}, CHAT[1]]} for row in range(20)]
    (tmp_path / "date.jinja").write_text("{{ strftime_now('%d %b %Y') }}" + CUTS_THOUGHTS)
    spec = {"train_file": lines(tmp_path / "a.jsonl", rows), "chat_template": str(tmp_path / "date.jinja")}
    checkpoint = locate(ModelSpec(name_or_path="builtin:tiny-qwen3"))

    def made(moment: str | None) -> dict[str, Any]:
        chats = ChatBase(lambda: load_tokenizer_for_lm(checkpoint), moment)
        splits = load_splits(CausalData.model_validate(spec), seed=1, chats=chats)
        assert splits.prompting is not None
        return splits.prompting.to_dict()

    assert made("2001-02-03T04:05:06") == made("2001-02-03T04:05:06")
    assert made("2001-02-03T04:05:06") != made("2001-02-04T04:05:06")
    assert made(None)["moment"] is not None


@pytest.mark.parametrize("bad", [False, "False"])
def test_an_answer_that_is_marked_as_bad_is_a_bad_row(tmp_path: Path, bad: object) -> None:
    rows = [{"prompt": f"do {row}", "completion": f"done {row}", "label": True} for row in range(20)]
    rows[7] |= {"label": bad}
    error = refusal(train_file=lines(tmp_path / "a.jsonl", rows))
    assert "a.jsonl:8 label is false: the answer is marked as bad" in error.problem
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows), on_bad_row="skip")
    assert "done 7" not in everything(splits, "completion")


def test_the_chosen_answers_are_learnt_where_they_are_named_and_the_others_are_said_to_be_unread(
    tmp_path: Path,
) -> None:
    rows = [{"question": f"q {row}", "chosen": "good", "rejected": "bad"} for row in range(20)]
    file = lines(tmp_path / "a.jsonl", rows)
    assert "no DPO" in refusal(train_file=file).problem
    splits = load(train_file=file, prompt_column="question", completion_column="chosen")
    assert set(everything(splits, "completion")) == {"good"}
    assert "columns that are not read: rejected" in splits.notes


def test_the_system_and_the_tools_stand_beside_their_chat(tmp_path: Path) -> None:
    tools = json.dumps([{"name": "look_up", "parameters": {"type": "object"}}])
    rows = [{"messages": CHAT, "system": f"Be {row}.", "tools": tools, "id": row} for row in range(20)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows))
    chats = [Chat.from_json(chat) for chat in everything(splits, "messages")]
    assert all(chat.messages[0]["role"] == "system" for chat in chats)
    assert all(chat.tools[0] == {"type": "function", "function": json.loads(tools)[0]} for chat in chats)
    assert "column `tools` is what may be called in its chat" in splits.notes
    assert "column `system` is the system's turn of its chat" in splits.notes
    assert "columns that are not read: id" in splits.notes
    rows[4] |= {"tools": '[{"title": "f"}]'}
    assert (
        "a.jsonl:5 tools holds what is no description" in refusal(train_file=lines(tmp_path / "a.jsonl", rows)).problem
    )


def chats_of(splits: Splits) -> list[Chat]:
    return [Chat.from_json(chat) for chat in everything(splits, "messages")]


def test_history_and_system_of_alpaca_make_chats(tmp_path: Path) -> None:
    row = {"instruction": "Add", "input": "2", "output": "4", "system": "Be brief.", "history": [["1 + 1", "2"]]}
    rows = [row | {"input": f"{number}"} for number in range(20)]
    rows[3]["history"] = []
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows))
    chats = chats_of(splits)
    assert {len(chat.messages) for chat in chats} == {3, 5}
    longest = next(chat.messages for chat in chats if len(chat.messages) == 5 and "\n2" in chat.messages[3]["content"])
    assert [turn["content"] for turn in longest] == ["Be brief.", "1 + 1", "2", longest[3]["content"], "4"]
    # the recipe of the run says the same once more
    again = load(train_file=str(tmp_path / "a.jsonl"), **splits.found)
    assert chats_of(again) == chats
    assert refusal(train_file=str(tmp_path / "a.jsonl"), text_column="output", thoughts="last")


def test_a_prompt_and_its_completion_may_be_messages_of_which_the_completion_is_learnt(tmp_path: Path) -> None:
    earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [{"prompt": [*earlier, {"role": "user", "content": f"{n}?"}], "completion": [CHAT[1]]} for n in range(20)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows))
    for chat in chats_of(splits):
        assert [is_learnt(turn) for turn in chat.messages] == [False, False, False, True]
    texts = [{"prompt": row["prompt"], "completion": "Yes."} for row in rows]
    named = load(train_file=lines(tmp_path / "b.jsonl", texts), prompt_column="prompt", completion_column="completion")
    assert chats_of(named)[0].messages[-1] == {"role": "assistant", "content": "Yes."}


def test_the_system_of_all_chats_is_a_key_and_those_that_have_one_keep_it(tmp_path: Path) -> None:
    own = {"role": "system", "content": "Be rude."}
    rows = [{"messages": [*([own] if n < 5 else []), {**CHAT[0], "content": f"{n}"}, CHAT[1]]} for n in range(20)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows), system="Be kind.")
    systems = Counter(chat.messages[0]["content"] for chat in chats_of(splits))
    assert systems == {"Be kind.": 15, "Be rude.": 5}
    assert any("5 chats keep the system's turn that they have" in note for note in splits.notes)
    assert splits.prompting is not None
    assert splits.prompting.to_dict()["system"] == "Be kind."
    other = [{**row, "told": "Be odd."} for row in rows[5:]]
    splits = load(train_file=lines(tmp_path / "b.jsonl", other), system_column="told")
    assert {chat.messages[0]["content"] for chat in chats_of(splits)} == {"Be odd."}


@pytest.mark.parametrize(
    ("learn", "learnt"),
    [
        (None, [False, True, False, True, True]),
        ("all_answers", [True, True, True, True, True]),
        ("last_answer", [False, False, False, True, True]),
        ("marked", [False, True, False, False, True]),
    ],
)
def test_which_answers_are_learnt_is_a_key(tmp_path: Path, learn: str | None, learnt: list[bool]) -> None:
    weights = [0, 1, 0, None, 1]
    answers = [{"role": "assistant", "content": f"{n}", "weight": weight} for n, weight in enumerate(weights)]
    asked = [{"role": "user", "content": f"{n}?"} for n in range(3)]
    chat = [asked[0], answers[0], answers[1], asked[1], answers[2], asked[2], answers[3], answers[4]]
    rows = [{"messages": [{"role": "system", "content": f"{n}"}, *chat]} for n in range(10)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows), learn=learn)
    for found in chats_of(splits):
        assert [is_learnt(turn) for turn in found.messages if turn["role"] == "assistant"] == learnt
    assert any("learnt that the file marks as not" in note for note in splits.notes) == (learn == "all_answers")


def test_everything_is_learnt_where_the_key_says_it_and_marks_say_nothing_else(tmp_path: Path) -> None:
    rows = [{"messages": [{**CHAT[0], "content": f"{n}"}, CHAT[1]]} for n in range(10)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows), learn="everything")
    assert splits.prompting is not None
    assert not splits.prompting.completion_only_loss
    with pytest.raises(UserError, match="no turn of the assistant is marked"):
        load(train_file=str(tmp_path / "a.jsonl"), learn="marked")


@pytest.mark.parametrize(("thoughts", "kept"), [("all", [True, True]), ("last", [False, True]), ("none", [False] * 2)])
@pytest.mark.parametrize("within", [True, False])
def test_whose_thoughts_are_kept_is_a_key(tmp_path: Path, thoughts: str, kept: list[bool], within: bool) -> None:
    thinks = {"content": "<think>\nso\n</think>\n\nyes"} if within else {"content": "yes", "thinking": "so"}
    chat = [CHAT[0], {"role": "assistant", **thinks}, CHAT[0], {"role": "assistant", **thinks}]
    rows = [{"messages": [{"role": "system", "content": f"{n}"}, *chat]} for n in range(10)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows), thoughts=thoughts)
    for found in chats_of(splits):
        answers = [turn for turn in found.messages if turn["role"] == "assistant"]
        assert list(map(has_thoughts, answers)) == kept
        assert [answer_of(turn) for turn in answers] == ["yes", "yes"]
