"""What the card of a run tells the world, whatever the task."""

import json

import pytest


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
