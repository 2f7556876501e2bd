"""New recipes for text to text: source and target, or a text with its label, are found, filled in and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.recipe.new import starting_point, starting_points
from ftkit.recipe.schema import Recipe
from ftkit.tasks.table import read_recipe
from tests.commands.new_recipes import run, write_rows

STARTS = sorted(
    name
    for name, point in starting_points().items()
    if point.task == "seq2seq" and "  train_file:" in starting_point(name)
)


def write_json_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    return write_rows(path, [json.dumps(row) for row in rows])


def pairs(folder: Path, source: str, target: str, **others: object) -> Path:
    rows = [{"id": n, source: f"a long text {n}", target: f"short {n}", **others} for n in range(9)]
    return write_json_lines(folder / "pairs.jsonl", rows)


def labelled(folder: Path) -> Path:
    rows = ["text,label", *(f"a film like number {n},{'good' if n % 2 else 'bad'}" for n in range(20))]
    return write_rows(folder / "labelled.csv", rows)


def made(folder: Path) -> Recipe:
    return read_recipe(folder / "r.yaml").recipe


@pytest.mark.parametrize(
    ("source", "target"), [("source", "target"), ("document", "summary"), ("text", "summary"), ("inputs", "targets")]
)
def test_names_of_two_texts_make_a_recipe_for_text_to_text_without_a_task_being_named(
    tmp_path: Path, source: str, target: str
) -> None:
    said = run(tmp_path / "r.yaml", "--data", pairs(tmp_path, source, target))
    recipe = made(tmp_path)
    assert (recipe.task, recipe.method.type) == ("seq2seq", "full")
    assert (recipe.data.source_column, recipe.data.target_column) == (source, target)
    assert f"task seq2seq: {source} is to become {target}; --task classification would" in said
    assert "20% of the rows are split off, those of one source together" in said


@pytest.mark.parametrize(
    ("source", "target"), [("prompt", "completion"), ("question", "answer"), ("instruction", "output")]
)
def test_prompts_and_answers_are_for_a_language_model_unless_something_else_is_said(
    tmp_path: Path, source: str, target: str
) -> None:
    data = pairs(tmp_path, source, target)
    run(tmp_path / "r.yaml", "--data", data)
    assert made(tmp_path).task == "causal_lm"
    for words in (
        ("--task", "seq2seq"),
        ("--from", "summarise"),
        ("--source-column", source, "--target-column", target),
    ):
        run(tmp_path / "r.yaml", "--data", data, *words, "--overwrite")
        spec = made(tmp_path).data
        assert (made(tmp_path).task, spec.source_column, spec.target_column) == ("seq2seq", source, target)


def test_a_text_with_a_target_that_is_short_and_usual_for_labels_stays_a_classifier(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.csv", ["text,target", *(f"some words {n},{n % 2}" for n in range(20))])
    run(tmp_path / "r.yaml", "--data", data)
    assert made(tmp_path).data.label_column == "target"
    data = pairs(tmp_path, "text", "summary", label="news")
    run(tmp_path / "r.yaml", "--data", data, "--overwrite")
    assert made(tmp_path).task == "classification"


@pytest.mark.parametrize("start", STARTS)
def test_pairs_and_labels_fit_into_each_starting_point_of_text_to_text(tmp_path: Path, start: str) -> None:
    run(tmp_path / "r.yaml", "--data", pairs(tmp_path, "dialogue", "summary"), "--from", start)
    spec = made(tmp_path).data
    assert (spec.source_column, spec.target_column, spec.labels_as_text) == ("dialogue", "summary", False)
    said = run(tmp_path / "r.yaml", "--data", labelled(tmp_path), "--from", start, "--overwrite")
    spec = made(tmp_path).data
    assert (spec.source_column, spec.text_column, spec.label_column) == (None, "text", "label")
    assert spec.labels_as_text
    assert "generated_accuracy" in made(tmp_path).evaluation.metrics
    assert "what is learnt: the name of the label, as a text" in said


def test_a_data_set_of_labels_is_learnt_as_text_when_that_task_is_named(tmp_path: Path) -> None:
    run(tmp_path / "r.yaml", "--data", labelled(tmp_path), "--task", "seq2seq")
    assert starting_point("text-to-text-classification").splitlines()[2] in (tmp_path / "r.yaml").read_text("utf-8")
    rows = ["film,verdict", *(f"a film like number {n},{'good' if n % 2 else 'bad'}" for n in range(20))]
    data = write_rows(tmp_path / "a.csv", rows)
    run(tmp_path / "r.yaml", "--data", data, "--task", "seq2seq", "--overwrite")
    assert (made(tmp_path).data.label_column, made(tmp_path).data.labels_as_text) == ("verdict", True)


def test_a_pair_of_texts_with_a_label_can_be_named(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.csv", ["a,b,c", *(f"one text {n},other text {n},{n % 2}" for n in range(20))])
    words = ("--task", "seq2seq", "--text-column", "a", "--text-pair-column", "b")
    run(tmp_path / "r.yaml", "--data", data, *words)
    spec = made(tmp_path).data
    assert (spec.text_column, spec.text_pair_column, spec.label_column) == ("a", "b", "c")


def test_a_column_with_what_is_to_be_done_stands_before_the_source(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"prefix": ("ask", "sum")[n % 2], "input_text": f"cat {n}", "target_text": f"hat {n}"} for n in range(9)
    ]
    run(tmp_path / "r.yaml", "--data", write_json_lines(tmp_path / "a.jsonl", rows))
    data = made(tmp_path).data
    assert data.template == "{prefix}: {input_text}<learn>{target_text}"
    assert data.source_column is None


def test_references_and_files_beside_the_training_file_are_used(tmp_path: Path) -> None:
    data = pairs(tmp_path, "source", "target", refs=["short", "brief"])
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.jsonl").write_bytes(data.read_bytes())
    run(tmp_path / "r.yaml", "--data", tmp_path / "train.jsonl")
    spec = made(tmp_path).data
    assert spec.references_column == "refs"
    assert (spec.validation_file, spec.test_file) == (str(tmp_path / "dev.jsonl"), str(tmp_path / "test.jsonl"))


def test_translations_are_told_and_which_way_is_asked_for(tmp_path: Path) -> None:
    row = {"translation": {"de": "Guten Tag", "en": "Good day"}}
    data = write_json_lines(tmp_path / "a.jsonl", [row] * 9)
    with pytest.raises(
        UserError, match=r"do not tell which is translated.*--source-column and --target-column; columns"
    ):
        run(tmp_path / "r.yaml", "--data", data)
    words = ("--source-column", "translation.en", "--target-column", "translation.de")
    run(tmp_path / "r.yaml", "--data", data, *words)
    assert made(tmp_path).data.target_column == "translation.de"


@pytest.mark.parametrize("words", [(), ("--task", "seq2seq")])
def test_lists_of_targets_are_refused_as_that(tmp_path: Path, words: tuple[str, ...]) -> None:
    rows: list[dict[str, object]] = [{"source": f"item {n}", "target": [f"a {n}", f"b {n}"]} for n in range(9)]
    with pytest.raises(UserError, match=r"`target` holds lists of texts.*a row for each text"):
        run(tmp_path / "r.yaml", "--data", write_json_lines(tmp_path / "a.jsonl", rows), *words)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--source-column", "a"), "--source-column alone does not say what an example is"),
        (("--target-column", "a"), "--target-column alone does not say what an example is"),
        (("--source-column", "a", "--target-column", "a"), "are both a"),
        (("--source-column", "a", "--label-column", "b"), "columns of two kinds are named"),
        (("--source-column", "a", "--prompt-column", "b"), "--prompt-column and --source-column do not go together"),
        (("--task", "causal_lm", "--source-column", "b"), "--task and --source-column do not go together"),
        (("--from", "classify-full", "--target-column", "b"), "do not go together; leave out"),
        (("--task", "seq2seq"), "more than two columns could be source and target: a, b, c"),
    ],
)
def test_what_does_not_say_what_an_example_is_is_refused(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    rows: list[dict[str, object]] = [{name: f"text {name} number {n}" for name in "abc"} for n in range(9)]
    with pytest.raises(UserError, match=problem):
        run(tmp_path / "r.yaml", "--data", write_json_lines(tmp_path / "a.jsonl", rows), *words)
    assert not (tmp_path / "r.yaml").exists()


def test_a_text_file_has_no_sources_and_targets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a text file has no columns"):
        run(tmp_path / "r.yaml", "--data", write_rows(tmp_path / "a.txt", ["a story"]), "--task", "seq2seq")


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (("--task", "seq2seq"), "seq2seq-full"),
        (("--source-column", "a"), "seq2seq-full"),
        (("--task", "seq2seq", "--label-column", "a"), "text-to-text-classification"),
        (("--label-column", "a"), "classify-frozen"),
    ],
)
def test_options_without_data_choose_a_starting_point(tmp_path: Path, words: tuple[str, ...], start: str) -> None:
    run(tmp_path / "r.yaml", *words)
    assert (tmp_path / "r.yaml").read_text("utf-8") == starting_point(start)
