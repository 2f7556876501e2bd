"""Predict labels the column that was trained on, whatever else a file has."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.errors import UserError

SAID = "What was said"


def write(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return path


@pytest.fixture(scope="module")
def found(classifier_recipe: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose columns were found by what is in them."""
    folder = tmp_path_factory.mktemp("found")
    rows = [(f"a long review number {i} that is {w}", w) for i in range(40) for w in ("good", "bad")]
    data = write(folder / "found.csv", (SAID, "Stars"), rows)
    result = classifier_recipe(
        folder, "run", data__train_file=data, data__validation_file="null", method__pooling="mean"
    )
    path: Path = result.run.path
    return path


@pytest.mark.parametrize("place", ["", "model"])
def test_the_column_that_was_found_in_training_is_read_though_another_is_called_text(
    place: str, found: Path, tmp_path: Path
) -> None:
    texts = ["it is good", "it is bad"]
    new = write(tmp_path / "new.csv", (SAID, "text"), [(text, "internal note") for text in texts])
    scores = [row["scores"] for row in ftkit.predict(found / place, file=new)]
    assert scores == [row["scores"] for row in ftkit.predict(found, texts)]
    assert scores[0] != scores[1]


def test_a_file_without_that_column_is_refused_unless_it_has_but_one(found: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new.csv", ("id", "text"), [("1", "it is good")])
    with pytest.raises(UserError, match="no such column: What was said"):
        ftkit.predict(found, file=new)
    (tmp_path / "new.txt").write_text("it is good\n")
    assert len(list(ftkit.predict(found, file=tmp_path / "new.txt"))) == 1
