"""`ftkit compare` on two real runs, by an application of its own: lines on stdout, JSON, and what is refused."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from ftkit.cli.compare import compare
from ftkit.commands.train import train
from ftkit.errors import UserError
from ftkit.report.tables import LINE_WIDTH

app = typer.Typer()
app.command()(compare)


def type_in(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session")
def two_runs(finished_run):
    """A run and one of the same recipe and data with another learning rate."""
    other = finished_run.parent / "compared" / "slower"
    changes = [f"training.output_dir={other}", "training.learning_rate=1e-6"]
    return finished_run, train(finished_run.parent / "recipe.yaml", changes).run.path


@pytest.mark.parametrize("width", [60, 80, LINE_WIDTH])
def test_two_trained_runs_are_paired_row_by_row(two_runs, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    done = type_in(*two_runs)
    assert done.exit_code == 0, done.output
    # a path has no place to be folded at
    assert max(len(line) for line in done.output.splitlines() if "/" not in line) <= width
    for words in ("B against A", "(the same data)", "training.learning_rate", "accuracy", "f1_macro", "wall time"):
        assert words in done.output


def test_json_agrees_with_the_metrics_of_the_runs(two_runs):
    told = json.loads(type_in(*two_runs, "--json").output)
    first, second = (run["metrics"]["validation"]["accuracy"]["value"] for run in told["runs"])
    pair = next(pair for pair in told["pairs"] if pair["split"] == "validation")
    accuracy, *_, loss = pair["differences"]
    assert accuracy["value"] == pytest.approx(second - first)
    first, second = (run["metrics"]["validation"]["loss"]["value"] for run in told["runs"])
    assert loss["value"] == pytest.approx(second - first, abs=1e-4)
    assert list(told["recipe"]) == ["training.learning_rate"]


def test_the_baseline_is_chosen_and_one_split_asked_for(two_runs):
    first, second = two_runs
    told = json.loads(type_in(first, "--against", second, "--split", "validation", "--json").output)
    assert [run["path"] for run in told["runs"]] == [str(second), str(first)]
    assert {pair["split"] for pair in told["pairs"]} == {"validation"}


def test_wrong_words_are_refused(two_runs, tmp_path):
    for words, problem in (([two_runs[0]], "1 run to compare"), ([two_runs[0], tmp_path], "no run of ftkit")):
        done = type_in(*words)
        assert isinstance(done.exception, UserError)
        assert problem in str(done.exception)
