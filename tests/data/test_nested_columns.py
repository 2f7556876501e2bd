from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from ftkit.commands.predict import FileColumns, text_rows
from ftkit.data.look import is_labelled, labelled_recipe, read_head
from ftkit.data.prompting import Prompting
from ftkit.data.reading.asked import FileReading
from ftkit.decoding.prompts import file_prompts
from ftkit.recipe.labelled import LabelledData
from ftkit.recipe.new import starting_point
from ftkit.tasks import causal_lm, classification, seq2seq
from ftkit.tasks.causal_lm.data_section import CausalData
from ftkit.tasks.seq2seq.recipe import Seq2SeqData

TASKS = {
    LabelledData: classification.load_splits,
    CausalData: causal_lm.load_splits,
    Seq2SeqData: seq2seq.load_splits,
}
FORMS: list[tuple[Any, dict[str, Any]]] = [
    (LabelledData, {"text_column": "t", "text_pair_column": "u", "label_column": "k"}),
    (CausalData, {"text_column": "t"}),
    (CausalData, {"prompt_column": "t", "completion_column": "u"}),
    (CausalData, {"messages_column": "m", "system_column": "s"}),
    (CausalData, {"prompt_column": "t", "completion_column": "u", "history_column": "h"}),
    (CausalData, {"template": "{t}<learn>{u}"}),
    (Seq2SeqData, {"source_column": "t", "target_column": "u", "references_column": "r",
                   "source_language_column": "s", "target_language_column": "s"}),
    (Seq2SeqData, {"template": "{t}<learn>{u}"}),
    (Seq2SeqData, {"text_column": "t", "text_pair_column": "u", "label_column": "k", "labels_as_text": True}),
]  # fmt: skip
ROWS = [
    {
        "t": f"the text {row} here",
        "u": f"and another one {row}",
        "k": "ab"[row % 2],
        "r": [f"and another one {row}", "x"],
        "s": "en_XX",
        "h": [["before", "that"]],
        "m": [{"role": "user", "content": f"number {row}?"}, {"role": "assistant", "content": "yes"}],
    }
    for row in range(20)
]


def below(name: str, value: Any) -> Any:
    """The value of a key of the recipe for rows that lie below the key `in.ner`."""
    if name == "template":
        return value.replace("{", "{in.ner.")
    return f"in.ner.{value}" if name.endswith("_column") else value


def test_every_key_that_names_a_column_is_looked_at_here() -> None:
    keys = {(spec, key) for spec in TASKS for key in spec.model_fields if key.endswith("_column") or key == "template"}
    tested = {(spec, key) for spec, form in FORMS for key in form if key != "labels_as_text"}
    assert keys == tested


@pytest.mark.parametrize(("spec", "form"), FORMS)
def test_a_key_that_names_a_column_takes_one_within_objects(tmp_path: Path, spec: Any, form: dict[str, Any]) -> None:
    found = []
    for name, rows, keys in (
        ("flat", ROWS, form),
        ("deep", [{"in": {"ner": row}} for row in ROWS], {key: below(key, value) for key, value in form.items()}),
    ):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files = {"train_file": str(path), "validation_file": str(path)}
        splits = TASKS[spec](spec.model_validate(files | keys), seed=1)
        found.append([split.table.to_pylist() for split in splits.all()])
    # labels as text write the names of columns before a pair
    assert json.dumps(found[0]) == json.dumps(found[1]).replace("in.ner.", "")
    assert len(found[0][0]) == len(ROWS)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    path = tmp_path / "deep.jsonl"
    path.write_text("".join(json.dumps({"in": row}) + "\n" for row in ROWS))
    return path


def test_predict_and_generate_take_columns_within_objects(deep: Path) -> None:
    columns = FileColumns("in.t", "in.u")
    assert [row.text for row in text_rows(deep, columns)] == [row["t"] for row in ROWS]
    assert [row.pair for row in text_rows(deep, columns)] == [row["u"] for row in ROWS]
    asks = file_prompts(Prompting("text"), deep, column="in.t")
    assert [ask.text for ask in asks] == [row["t"] for row in ROWS]
    chats = file_prompts(Prompting("chat"), deep, column="in.m")
    assert [ask.shown for ask in chats] == [f"number {row}?" for row in range(20)]


def test_new_takes_columns_within_objects(deep: Path, tmp_path: Path) -> None:
    head = read_head(deep, FileReading(), named={"text": "in.t", "label": "in.k"})
    assert not is_labelled(head)
    text = starting_point("classify-frozen")
    recipe = labelled_recipe(head, text, path=tmp_path / "r.yaml", model=None)
    assert "label_column: in.k" in recipe.text
    assert any("2 labels: a (10), b (10)" in note for note in recipe.assumed)


def test_names_of_classes_within_objects_are_the_labels(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "meta": {"label": datasets.ClassLabel(names=["no", "yes"])}}
    )
    rows = [{"text": f"row {row}", "meta": {"label": row % 2}} for row in range(20)]
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "a.parquet")
    spec = LabelledData(train_file=str(tmp_path / "a.parquet"), label_column="meta.label")
    assert classification.load_splits(spec, seed=1).label_names == ("no", "yes")
