"""A list of sources in a recipe: what each may say, where it lies, and what goes together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.errors import RecipeError
from ftkit.recipe.dump import dump_recipe
from ftkit.tasks.table import read_recipe

RECIPE = """\
task: {task}
model: {{name_or_path: 'builtin:tiny-bert'}}
data:
  train_file:
    - a.csv
    - {entry}
{more}"""


def read(folder: Path, entry: str, *, task: str = "causal_lm", more: str = "") -> str:
    """What is wrong with a recipe of two sources; empty when nothing is, and it can be written and read again."""
    (folder / "a.csv").write_text("text\nabc\n")
    (folder / "b.csv").write_text("text\nabc\n")
    file = folder / "my.yaml"
    file.write_text(RECIPE.format(task=task, entry=entry, more=more))
    try:
        recipe = read_recipe(file).recipe
    except RecipeError as error:
        return str(error).replace(str(folder), "")
    file.write_text(dump_recipe(recipe))
    assert read_recipe(file).recipe == recipe
    return ""


@pytest.mark.parametrize(
    "entry",
    [
        "b.csv",
        "{file: b.csv, name: second, text_column: text, encoding: latin-1}",
        "{dataset_name: 'builtin:pydoc', split: train}",
        "{file: b.csv, prompt_column: a, completion_column: b}",
    ],
)
def test_a_source_is_a_path_or_has_keys_of_its_own(tmp_path: Path, entry: str) -> None:
    assert read(tmp_path, entry) == ""


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{file: b.csv, text_colum: a}", ":6:21 data.train_file[1].text_colum: no such key; did you mean text_column?"),
        ("{path: b.csv}", ":6:8 data.train_file[1].path: no such key; did you mean file?"),
        ("{file: c.csv}", ":6:14 data.train_file[1].file: no such file or folder: 'c.csv'"),
        ("{file: b.csv, text_column: 5}", ":6:34 data.train_file[1].text_column: must be a text, found the number 5"),
        ("{file: b.csv, max_length: 8}", "counts for all sources; write data.max_length"),
        ("{file: b.csv, source_column: a}", "task, causal_lm, does not read it"),
        ("{file: b.csv, mask_prompt: true}", "it is called completion_only_loss here"),
        ("{name: x}", "it names no examples; add file, or dataset_name"),
        ("{file: b.csv, dataset_name: 'builtin:pydoc'}", "file is given as well"),
        ("{file: b.csv, split: train}", "only a dataset_name has it"),
        ("{dataset_name: 'builtin:pydocs'}", "did you mean builtin:pydoc?"),
        ("{file: b.csv, text_column: a, template: '{b}'}", "data.train_file[1].template: text_column says already"),
        ("{file: b.csv, prompt_column: a}", "data.train_file[1].prompt_column: completion_column is missing"),
        ("{file: b.csv, text_column: a, learn: marked}", "data.train_file[1].learn: these examples are no chats"),
        ("{file: b.csv, encoding: utf-9}", "data.train_file[1].encoding: Python knows no encoding"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_at_its_place(tmp_path: Path, entry: str, problem: str) -> None:
    assert problem in read(tmp_path, entry)


WEIGHTED = "{file: b.csv, weight: 2}"


@pytest.mark.parametrize(
    ("entry", "more", "problem"),
    [
        (WEIGHTED, "", "data.train_file[0]: it has no weight, and 1 of 2 have"),
        ("{file: b.csv, weight: 0}", "", "data.train_file[1].weight: must be above 0"),
        (
            "b.csv",
            "  validation_file: [{file: a.csv, weight: 1}]\n",
            "data.validation_file[0].weight: held-out rows are",
        ),
        (WEIGHTED, "training: {max_tokens_per_batch: 64}\n", "training.max_tokens_per_batch: sources with weights"),
        (WEIGHTED, "training: {extra: {train_sampling_strategy: sequential}}\n", "takes every row once an epoch"),
    ],
)
def test_weights_are_of_all_training_sources(tmp_path: Path, entry: str, more: str, problem: str) -> None:
    assert problem in read(tmp_path, entry, more=more)


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    more = "    - {file: a.csv, name: x}\n"
    assert "'x' is another source already" in read(tmp_path, "{file: b.csv, name: x}", more=more)


def test_a_key_of_the_data_section_counts_where_it_fits_and_is_refused_where_it_fits_no_source(tmp_path: Path) -> None:
    texts = "{file: b.csv, text_column: text}"
    assert read(tmp_path, "{file: b.csv, messages_column: m}", more="  learn: marked\n") == ""
    only_texts = "  text_column: text\n  learn: marked\n"
    assert "data.learn: these examples are no chats" in read(tmp_path, texts, more=only_texts)


def test_a_source_that_says_what_an_example_is_takes_no_column_for_that_from_the_data_section(tmp_path: Path) -> None:
    assert read(tmp_path, "{file: b.csv, template: 'a {b}'}", more="  text_column: text\n") == ""


def test_a_list_beside_a_data_set_is_refused_as_one_file_is(tmp_path: Path) -> None:
    assert "train_file is given as well" in read(tmp_path, "b.csv", more="  dataset_name: x/y\n")


def test_windows_that_are_examples_have_no_weights(tmp_path: Path) -> None:
    for method, refused in (("full", True), ("lora", True), ("frozen", False)):
        more = f"  long_texts: windows\nmethod: {{type: {method}}}"
        found = read(tmp_path, "{file: b.csv, weight: 1}", task="classification", more=more)
        assert ("data.long_texts: each window is an example" in found) == refused


def test_a_value_that_cannot_be_read_brings_no_second_error_about_what_it_decides(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    recipe = "task: classification\nmodel: {name_or_path: 'builtin:tiny-bert'}\nmethod: {type: full}\ndata:\n"
    recipe += "  {train_file: a.csv, long_texts: window, window_stride: 4}\n"
    recipe += "training: {lr_scheduler_type: cosin, lr_scheduler_kwargs: {min_lr_rate: 0.1}}\n"
    (tmp_path / "r.yaml").write_text(recipe)
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "r.yaml")
    assert [problem.key for problem in caught.value.problems] == ["data.long_texts", "training.lr_scheduler_type"]
