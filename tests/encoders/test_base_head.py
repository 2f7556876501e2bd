"""A base that is a classifier already: its labels, their order and the rows of its head stay one thing."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.models.classifier import open_classifier
from ftkit.tasks.classification.scores import TextRow, predict_rows
from tests.fixtures.tiers import slow

NAMES = ["no", "maybe", "yes"]
"""In an order that is not sorted."""
WORDS = {"no": "never not", "maybe": "perhaps could", "yes": "indeed right"}
ONCE = {"training__max_steps": 1, "training__learning_rate": 1e-6}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, classifier_recipe: Callable[..., Any]) -> Path:
    """A classifier that is right about every row."""
    folder = tmp_path_factory.mktemp("base")
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((f"the old house {WORDS[name]} item {k}", name) for k in range(60) for name in NAMES)
    classifier_recipe(
        folder,
        "run",
        method__type="full",
        data__train_file=folder / "rows.csv",
        data__validation_file=folder / "rows.csv",
        data__label_names=json.dumps(NAMES),
        training__max_steps=60,
        training__learning_rate=3e-3,
    )
    return folder


@pytest.fixture
def again(base: Path, classifier_recipe: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Finetune it once more, with a step too small to teach anything."""
    rows = {"data__train_file": base / "rows.csv", "data__validation_file": base / "rows.csv"}
    return lambda **settings: classifier_recipe(
        tmp_path, "again", **{"model__name_or_path": base / "run" / "model", **rows, **ONCE, **settings}
    )


@pytest.mark.parametrize("stated", [None, ["yes", "no", "maybe"]], ids=["as found", "in another order"])
@pytest.mark.parametrize("method", ["full", "lora", slow("ia3"), "frozen"])
def test_a_kept_head_answers_with_the_labels_that_its_rows_were_trained_for(
    method: str, stated: list[str] | None, again: Callable[..., Any]
) -> None:
    order = {} if stated is None else {"data__label_names": json.dumps(stated)}
    result = again(method__type=method, **order)
    assert result.metrics["validation"]["accuracy"]["value"] == 1.0
    assert list(open_classifier(result.run.path).label_names) == (stated or NAMES)
    asked = [TextRow(f"the old house {words} item 7", None, {}) for words in WORDS.values()]
    assert [row["label"] for row in predict_rows(open_classifier(result.run.path), asked)] == list(WORDS)


def test_labels_that_differ_in_case_alone_are_those_of_the_head_and_keep_the_spelling_of_the_data(
    base: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    text = (base / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text.replace(",no", ",NO").replace(",yes", ",Yes"))
    rows = tmp_path / "rows.csv"
    result = again(method__type="full", data__train_file=rows, data__validation_file=rows)
    assert result.metrics["validation"]["accuracy"]["value"] == 1.0
    assert open_classifier(result.run.path).label_names == ("NO", "maybe", "Yes")


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
@pytest.mark.parametrize("renamed", [{"yes": "A", "no": "B", "maybe": "C"}, {"maybe": "yes"}], ids=["others", "fewer"])
def test_a_head_for_other_labels_begins_anew_and_that_is_said(
    method: str, renamed: dict[str, str], base: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    text = (base / "rows.csv").read_text()
    for old, new in renamed.items():
        text = text.replace(f",{old}\n", f",{new}\n").replace(f",{old}\r\n", f",{new}\r\n")
    (tmp_path / "rows.csv").write_text(text)
    rows = tmp_path / "rows.csv"
    result = again(method__type=method, data__train_file=rows, data__validation_file=rows)
    scores = [json.loads(line) for line in result.run.predictions_file("validation").read_text().splitlines()]
    # what a new layer says is about the same of every label; the old one was sure
    assert np.mean([row["score"] for row in scores]) < 0.75
    reloaded = predict_rows(open_classifier(result.run.path), [TextRow(row["text"], None, {}) for row in scores])
    for row, read in zip(scores, reloaded, strict=True):
        assert read["scores"] == pytest.approx(row["scores"], abs=1e-5)


@pytest.mark.parametrize(
    ("names", "said"),
    [(NAMES, "is kept with its labels"), (NAMES[::-1], "its rows in the order"), (["a", "b", "c"], "begins anew")],
)
def test_check_says_what_becomes_of_the_head(names: list[str], said: str, base: Path) -> None:
    from ftkit.encoders.base_head import base_head
    from ftkit.models.checkpoint import Checkpoint

    head = base_head(Checkpoint("base", base / "run" / "model"), names)
    assert head is not None
    assert said in head.note


def test_a_head_whose_rows_have_numbers_only_is_kept_for_labels_that_are_those_numbers(
    base: Path, tmp_path: Path
) -> None:
    from ftkit.encoders.base_head import base_head
    from ftkit.models.checkpoint import Checkpoint

    folder = tmp_path / "unnamed"
    shutil.copytree(base / "run" / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(index): f"LABEL_{index}" for index in range(3)}
    (folder / "config.json").write_text(json.dumps(config))
    kept = base_head(Checkpoint("base", folder), ["0", "1", "2"])
    other = base_head(Checkpoint("base", folder), ["no", "maybe", "yes"])
    assert kept is not None
    assert other is not None
    assert (kept.rows, other.rows) == ((0, 1, 2), None)
