"""Results in a notebook: escaped, with every number that metrics.json holds."""

from __future__ import annotations

import os
from pathlib import Path

from ftkit.notebook import as_html, score_rows
from ftkit.runs.folder import create
from ftkit.runs.run import Run
from ftkit.storage import write_json


def test_whatever_a_text_holds_it_is_shown_and_never_obeyed():
    page = as_html("<script>", ["<b>"], [["<img src=x>"]], below=["a & b"])
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "a &amp; b" in page


def test_scores_that_are_one_number_are_rows_and_matrices_are_not():
    entries = {"accuracy": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}, "confusion": {"value": [[1, 1]], "n": 4}}
    assert list(score_rows({"test": entries})) == [("test", "accuracy", "0.5000", "0.2500 to 0.7500", "4")]


def test_a_run_stands_wherever_a_path_is_asked_for_and_shows_its_scores(tmp_path: Path):
    run = create(tmp_path / "a<b", recipe_text="task: classification\n", manifest={})
    assert Path(run) == run.path
    assert os.fspath(run) == str(run.path)
    write_json(run.metrics_file, {"validation": {"loss": {"value": 1.25, "n": 8}}})
    shown = run._repr_html_()
    assert "a&lt;b" in shown
    assert "<td>1.2500</td>" in shown
    assert Run(run.path) == run
