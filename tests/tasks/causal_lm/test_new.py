"""New recipes for language models: the form of the data is found, filled in and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.recipe.new import starting_point
from ftkit.tasks.table import read_recipe
from tests.commands.new_recipes import run, write_rows

TURNS = [{"role": "user", "content": "Is it far?"}, {"role": "assistant", "content": "Two miles."}]


def write_json_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    return write_rows(path, [json.dumps(row) for row in rows])


def test_chats_make_a_recipe_for_a_language_model_without_a_task_being_named(tmp_path: Path) -> None:
    data = write_json_lines(tmp_path / "chat.jsonl", [{"messages": TURNS}] * 9)
    said = run(tmp_path / "r.yaml", "--data", data)
    recipe = read_recipe(tmp_path / "r.yaml").recipe
    assert (recipe.task, recipe.method.type, recipe.data.messages_column) == ("causal_lm", "lora", "messages")
    assert recipe.data.chat_template == "plain"
    assert "task causal_lm: the file holds messages; --task classification would" in said
    assert "what is learnt: the assistant's turns" in said
    assert "20% of the rows are split off" in said


@pytest.mark.parametrize("model", ["HuggingFaceTB/SmolLM2-135M-Instruct", "google/gemma-3-1b-it", "builtin:smollm2"])
def test_a_model_that_was_taught_to_chat_keeps_its_own_template(tmp_path: Path, model: str) -> None:
    data = write_json_lines(tmp_path / "chat.jsonl", [{"messages": TURNS}] * 9)
    said = run(tmp_path / "r.yaml", "--data", data, "--model", model)
    assert read_recipe(tmp_path / "r.yaml").recipe.data.chat_template is None
    assert "the model's own template" in said


@pytest.mark.parametrize("start", ["causal-lm-lora", "causal-lm-full", "instruct", "prompt-tuning"])
def test_each_form_of_data_fits_into_each_starting_point_of_a_language_model(tmp_path: Path, start: str) -> None:
    forms: dict[str, dict[str, object]] = {
        "chat": {"conversations": TURNS},
        "completion": {"question": "Is it far?", "answer": "Two miles."},
        "text": {"story": "It was not far, two miles at most."},
    }
    for kind, row in forms.items():
        data = write_json_lines(tmp_path / f"{kind}.jsonl", [row] * 9)
        run(tmp_path / "r.yaml", "--data", data, "--from", start, "--overwrite")
        spec = read_recipe(tmp_path / "r.yaml").recipe.data
        named = [spec.messages_column, spec.prompt_column, spec.completion_column, spec.text_column, spec.template]
        assert [name for name in named if name is not None] == list(row)
    text = write_rows(tmp_path / "book.txt", ["Once upon a time", "", "there was a pier."])
    run(tmp_path / "r.yaml", "--data", text, "--from", start, "--overwrite")
    assert read_recipe(tmp_path / "r.yaml").recipe.data.train_file == str(text)


def test_an_instruction_with_its_input_becomes_a_template(tmp_path: Path) -> None:
    row = {"instruction": "Shorten this.", "input": "A long sentence.", "output": "Short."}
    said = run(tmp_path / "r.yaml", "--data", write_json_lines(tmp_path / "a.jsonl", [row] * 9))
    spec = read_recipe(tmp_path / "r.yaml").recipe.data
    assert spec.template == "{instruction}\n{input}\n<learn>{output}"
    assert (spec.prompt_column, spec.completion_column) == (None, None)
    assert "stands below the prompt" in said


def test_a_text_file_is_one_document_or_cut_where_it_says_so(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.txt", [f"line {n} of a story" for n in range(30)])
    said = run(tmp_path / "one.yaml", "--data", one)
    assert "the file is one document" in said
    assert "10% of the text, its end, is split off" in said
    several = write_rows(tmp_path / "several.txt", ["a story", "<|endoftext|>", "another"])
    said = run(tmp_path / "several.yaml", "--data", several)
    assert read_recipe(tmp_path / "several.yaml").recipe.data.document_separator == "<|endoftext|>"
    assert "separated by <|endoftext|>" in said


def test_a_column_of_labels_decides_for_a_classifier_unless_a_task_is_named(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": f"how far is place {n}?", "answer": f"{n} miles", "category": "far" if n > 9 else "near"}
        for n in range(20)
    ]
    data = write_json_lines(tmp_path / "a.jsonl", rows)
    run(tmp_path / "r.yaml", "--data", data)
    assert read_recipe(tmp_path / "r.yaml").recipe.data.label_column == "category"
    run(tmp_path / "r.yaml", "--data", data, "--task", "causal_lm", "--overwrite")
    assert read_recipe(tmp_path / "r.yaml").recipe.data.completion_column == "answer"


def test_texts_without_labels_are_answered_with_the_task_that_needs_none(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.csv", ["text", *(f"a story about number {n}" for n in range(9))])
    with pytest.raises(UserError, match=r"no column is clearly the label.*--task causal_lm"):
        run(tmp_path / "r.yaml", "--data", data)
    run(tmp_path / "r.yaml", "--data", data, "--task", "causal_lm")
    assert read_recipe(tmp_path / "r.yaml").recipe.data.text_column == "text"


def test_columns_of_a_language_model_can_be_named_and_are_asked_for_where_they_are_not_clear(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.csv", ["a,b", *(f"one text {n},other text {n}" for n in range(20))])
    with pytest.raises(UserError, match="more than one column could be the text: a, b; name it: --text-column"):
        run(tmp_path / "r.yaml", "--data", data, "--task", "causal_lm")
    run(tmp_path / "r.yaml", "--data", data, "--prompt-column", "a", "--completion-column", "b")
    spec = read_recipe(tmp_path / "r.yaml").recipe.data
    assert (spec.prompt_column, spec.completion_column, spec.messages_column) == ("a", "b", None)
    with pytest.raises(UserError, match="--prompt-column do not say what an example is"):
        run(tmp_path / "other.yaml", "--data", data, "--prompt-column", "a")


@pytest.mark.parametrize(
    "words",
    [
        ("--task", "classification", "--messages-column", "m"),
        ("--task", "causal_lm", "--label-column", "m"),
        ("--from", "instruct", "--text-pair-column", "m"),
        ("--from", "instruct", "--task", "classification"),
    ],
)
def test_options_of_different_tasks_do_not_go_together(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="do not go together"):
        run(tmp_path / "r.yaml", *words)


def test_a_task_without_data_gets_its_first_starting_point(tmp_path: Path) -> None:
    run(tmp_path / "r.yaml", "--task", "causal_lm")
    assert (tmp_path / "r.yaml").read_text("utf-8") == starting_point("causal-lm-lora")


def test_a_starting_point_with_data_of_its_own_takes_no_other(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.txt", ["a story"])
    with pytest.raises(UserError, match="brings its own data"):
        run(tmp_path / "r.yaml", "--from", "smollm2-pydoc", "--data", data)
