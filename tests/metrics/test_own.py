"""A metric that is a function of a file: what it may give, its interval, and what is said when it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftkit.errors import UserError
from ftkit.metrics.foreign import own
from ftkit.metrics.foreign.own import AnsweredRows, load_own, measure_own

CODE = """
from __future__ import annotations

from dataclasses import dataclass

import neighbour


@dataclass
class Judge:
    known: str = "c"


def by_row(predictions, references):
    return [float(said == right) for said, right in zip(predictions, references)]


def at_once(predictions, references):
    return sum(by_row(predictions, references)) / len(predictions)


def by_name(predictions, references, inputs):
    return {"right": at_once(predictions, references), "length": neighbour.mean_length(inputs)}


def of_one_class(predictions, references):
    only = [said == right for said, right in zip(predictions, references) if right == Judge().known]
    return sum(only) / len(only) if only else float("nan")


def fails(predictions, references):
    return 1 / (len(predictions) - 12)


def speaks(predictions, references):
    return "good"


def alone(predictions):
    return 1.0
"""
ROWS = AnsweredRows(list("aabbcaabbcaa"), list("abbbcaabbaab"), ["x"] * 6 + ["xyz"] * 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.py"
    path.write_text(CODE)
    (tmp_path / "neighbour.py").write_text("def mean_length(texts):\n    return sum(map(len, texts)) / len(texts)\n")
    return path


def measure(file: Path, name: str, rows: AnsweredRows = ROWS) -> dict[str, dict[str, object]]:
    return measure_own(load_own(f"{file}:{name}"), rows, num_resamples=400, seed=1)


def test_a_number_a_row_and_their_mean_have_the_same_value_and_the_same_interval(file: Path) -> None:
    by_row, at_once = measure(file, "by_row")["by_row"], measure(file, "at_once")["at_once"]
    assert by_row == at_once
    assert by_row["value"] == pytest.approx(np.mean([a == b for a, b in zip(*ROWS[:2], strict=True)]))
    assert by_row["low"] < by_row["value"] < by_row["high"]  # type: ignore[operator]


def test_numbers_by_name_stand_behind_a_dot_and_inputs_go_to_whoever_takes_them(file: Path) -> None:
    found = measure(file, "by_name")
    assert list(found) == ["by_name.right", "by_name.length"]
    assert found["by_name.length"]["value"] == 2.0


def test_resamples_that_leave_it_undefined_are_left_out_and_told(file: Path) -> None:
    entry = measure(file, "of_one_class")["of_one_class"]
    assert "resamples, which the interval leaves out" in str(entry["note"])


def test_a_function_that_takes_too_long_for_its_resamples_has_no_interval_and_says_why(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "MOST_SECONDS", 0.0)
    entry = measure(file, "at_once")["at_once"]
    assert (entry["low"], entry["high"]) == (None, None)
    assert "no interval" in str(entry["note"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", r"fails failed on 12 rows: ZeroDivisionError"),
        ("speaks", "speaks gave strs; a metric gives a number"),
        ("alone", r"the function takes \(predictions\); let it take predictions, references"),
        ("by_rwo", "has no function by_rwo; did you mean by_row"),
    ],
)
def test_what_is_wrong_with_a_function_is_one_error(file: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measure(file, name)


def test_an_error_names_the_line_of_the_file(file: Path, tmp_path: Path) -> None:
    line = 1 + CODE.split("\n").index("    return 1 / (len(predictions) - 12)")
    with pytest.raises(UserError, match=f"{file}:{line} "):
        measure(file, "fails")
    (tmp_path / "broken.py").write_text("import math\nmath.nothing\n")
    with pytest.raises(UserError, match=r"broken.py:2 .*cannot be run: AttributeError"):
        load_own(f"{tmp_path}/broken.py:f")
    (tmp_path / "torn.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(UserError, match=r"torn.py:2 .*SyntaxError"):
        load_own(f"{tmp_path}/torn.py:f")
    with pytest.raises(UserError, match="no such file"):
        load_own(f"{tmp_path}/nowhere.py:f")
    with pytest.raises(UserError, match=r"write metrics.py:my_score"):
        load_own("metrics.py")
