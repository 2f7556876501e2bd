"""What the card of a run tells the world, whatever the task."""

import json

import pytest

import ftkit
from ftkit.errors import UserError
from ftkit.evaluation.own_metrics import load_metrics, measure_run
from ftkit.tasks.table import read_recipe, task_of


@pytest.mark.parametrize("task", ["classification", "causal_lm", "seq2seq"])
def test_a_card_says_neither_a_row_of_the_data_nor_where_anything_lay(task, request, rows, texts, questions):
    make, data = {
        "classification": ("classifier_runs", rows),
        "causal_lm": ("lm_runs", [texts["pairs"]]),
        "seq2seq": ("runs_of_pairs", questions.values()),
    }[task]
    run = request.getfixturevalue(make)(method__type="full", training__max_steps=2).run
    told = "".join((run.model_dir / name).read_text(encoding="utf-8") for name in ("README.md", "card.json"))
    lines = [line for file in data for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    texts_of_rows = [json.loads(line).values() if line.startswith("{") else [line.rpartition(",")[0]] for line in lines]
    assert not [text for row in texts_of_rows for text in row if text in told]
    assert str(run.path.parent) not in told
    assert not [file for file in data if str(file.parent) in told]
    assert next(iter(data)).name in told


RIGHT = """
def right(predictions, references):
    rows = zip(predictions, references, strict=True)
    return [said == one if isinstance(one, str) else said in one for said, one in rows]
"""


@pytest.mark.parametrize(
    ("task", "make", "same"),
    [("classification", "classifier_runs", "accuracy"), ("seq2seq", "runs_of_pairs", "exact_match")],
)
def test_a_function_of_a_file_measures_what_a_run_answered(task, make, same, request, tmp_path):
    (tmp_path / "mine.py").write_text(RIGHT)
    run = request.getfixturevalue(make)(method__type="full", training__max_steps=2).run
    recipe = read_recipe(run.recipe_file).recipe
    keys = task_of(task).answer_keys
    found = measure_run(run, recipe, load_metrics([f"{tmp_path}/mine.py:right"], recipe, keys), keys)
    assert found
    for split, entries in found.items():
        assert entries["right"]["value"] == run.metrics()[split][same]["value"]
        assert entries["right"]["n"] == run.metrics()[split][same]["n"]


def test_a_function_that_has_nothing_to_measure_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "mine.py").write_text(RIGHT)
    text = {
        "task": "causal_lm",
        "model": {"name_or_path": "builtin:tiny-gpt2"},
        "data": {"dataset_name": "builtin:pydoc"},
    }
    with pytest.raises(UserError, match="task causal_lm is measured by losses"):
        ftkit.train(text, own_metrics=[f"{tmp_path}/mine.py:right"], output_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
