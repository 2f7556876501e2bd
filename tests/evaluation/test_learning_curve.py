"""The last line of a training says what its curve can tell, and what it cannot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftkit.evaluation import learning_curve
from ftkit.tasks.table import read_recipe
from tests.diagnosis.conftest import curve, falling

RECIPE = "task: causal_lm\nmodel: {name_or_path: builtin:tiny-gpt2}\ndata: {train_file: a.txt}\n"


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (2, "Cannot tell whether it ended too early: too few evaluations"),
        (11, "the learning curves show neither overfitting nor a training that ended too early"),
    ],
)
def test_a_curve_that_is_too_short_is_not_called_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, points: int, said: str
) -> None:
    monkeypatch.setattr(learning_curve, "read_probes", lambda _run: curve(falling, falling, points=points))
    run: Any = SimpleNamespace(manifest=lambda: {"data": {"validation": {"rows": 400}}})
    recipe = read_recipe(tmp_path / "r.yaml", text=RECIPE, check_files=False).recipe
    assert learning_curve.curve_verdict(run, recipe, unit="token", in_pieces=False).startswith(said)
