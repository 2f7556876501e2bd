from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftkit.data.dataset import LINE_COLUMN, Splits
from ftkit.data.duplicates import normalise
from ftkit.data.look import read_head
from ftkit.data.reading.asked import FileReading
from ftkit.errors import UserError
from ftkit.recipe.labelled import LabelledData
from ftkit.tasks.classification.form import load_splits
from ftkit.tasks.classification.new import new_recipe

GOOD = [(f"a text about number {i}", ("ham", "spam", "eggs")[i % 3]) for i in range(60)]


def csv_file(path: Path, rows: Sequence[tuple[object, object]] = GOOD, header: str = "text,label") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(f'"{text}",{label}' for text, label in rows)]) + "\n", encoding="utf-8")
    return str(path)


def json_lines(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def load(seed: int = 1, **spec: Any) -> Splits:
    return load_splits(LabelledData.model_validate(spec), seed=seed)


def refusal(**spec: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        load(**spec)
    return caught.value


def labelled(splits: Splits) -> dict[str, str]:
    """Text -> label name, over all splits."""
    return {
        text: splits.label_names[label]
        for split in splits.all()
        for text, label in zip(split.texts, split.labels.tolist(), strict=True)
    }


def test_texts_and_labels_arrive_as_they_stand_in_the_file(tmp_path: Path) -> None:
    splits = load(train_file=csv_file(tmp_path / "a.csv"))
    assert splits.label_names == ("eggs", "ham", "spam")
    assert labelled(splits) == dict(GOOD)
    assert (len(splits.train), len(splits.validation), splits.test) == (54, 6, None)
    table = splits.train.table.drop_columns(LINE_COLUMN)
    assert table.schema == pa.schema([("text", pa.string()), ("label", pa.int32())])
    assert splits.train.text_pairs is None


def test_what_was_assumed_is_in_the_notes(tmp_path: Path) -> None:
    notes = load(train_file=csv_file(tmp_path / "a.csv"), seed=7).notes
    assert notes == (
        "text column `text`, found by its name",
        "label column `label`, found by its name",
        "3 labels, sorted: eggs, ham, spam",
        "no validation set: 6 of 60 training rows split off, stratified by label, duplicate texts on one side"
        " (data.validation_size: 0.1, seed 7)",
    )


def test_the_same_seed_gives_the_same_splits_and_another_seed_others(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv")
    first, again, other = (load(seed, train_file=path).validation.texts for seed in (1, 1, 2))
    assert first == again != other


def test_duplicate_texts_never_straddle_also_when_case_and_spacing_differ(tmp_path: Path) -> None:
    rows = [(f"{'Word' if i % 2 else 'ＷＯＲＤ'}{'  ' * (i % 3)} {i % 40}", "xy"[i % 2]) for i in range(200)]
    splits = load(train_file=csv_file(tmp_path / "a.csv", rows), validation_size=0.3)
    train, validation = ({normalise(text) for text in split.texts} for split in (splits.train, splits.validation))
    assert validation
    assert not train & validation


def test_pairs_count_as_duplicates_only_when_both_texts_are_equal(tmp_path: Path) -> None:
    rows = [{"a": f"left {i % 5}", "b": f"right {i // 5}", "label": "xy"[i % 2]} for i in range(50)]
    splits = load(train_file=json_lines(tmp_path / "a.jsonl", rows), text_column="a", text_pair_column="b")
    assert len(splits.validation) == 5
    assert splits.train.text_pairs is not None
    assert set(zip(splits.train.texts, splits.train.text_pairs, strict=True)) < {(r["a"], r["b"]) for r in rows}
    assert len(set(splits.train.keys.tolist())) == 45


@pytest.mark.parametrize(
    ("values", "names"),
    [(["b", "a"], ("a", "b")), ([10, 9], ("9", "10")), (["10", "9"], ("9", "10")), ([True, False], ("false", "true"))],
)
def test_label_names_are_sorted_and_numerically_when_all_are_integers(
    tmp_path: Path, values: list[object], names: tuple[str, ...]
) -> None:
    rows = [{"text": f"text {i}", "label": values[i % 2]} for i in range(20)]
    assert load(train_file=json_lines(tmp_path / "a.jsonl", rows)).label_names == names


def test_label_names_of_the_recipe_decide_the_order(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv")
    splits = load(train_file=path, label_names=["spam", "ham", "eggs", "other"])
    assert splits.label_names == ("spam", "ham", "eggs", "other")
    assert labelled(splits) == dict(GOOD)
    assert "labels without a training row: other" in splits.notes
    assert f"{path}:4 label 'eggs' is not in data.label_names" in str(
        refusal(train_file=path, label_names=["spam", "ham"])
    )


def test_a_label_of_the_validation_set_that_training_lacks_is_an_error_with_the_near_spelling(tmp_path: Path) -> None:
    train = csv_file(tmp_path / "train.csv")
    validation = csv_file(tmp_path / "validation.csv", [("one", "ham"), ("two", "spma"), ("three", "fish")])
    message = str(refusal(train_file=train, validation_file=validation))
    assert message.startswith("2 of 3 rows cannot be used")
    assert f"{validation}:3 label 'spma' is not in the training set (eggs, ham, spam); did you mean 'spam'?" in message
    assert f"{validation}:4 label 'fish'" in message


def test_labels_spelt_in_several_ways_are_refused_with_every_spelling_unless_the_recipe_lists_them(
    tmp_path: Path,
) -> None:
    rows = [(f"text {i}", ("ham", "HAM", " ham", "spam")[i % 4]) for i in range(40)]
    path = csv_file(tmp_path / "a.csv", rows)
    error = refusal(train_file=path)
    assert error.problem.endswith(
        "' ham' (10 rows, first in line 4) = 'HAM' (10 rows, first in line 3) = 'ham' (10 rows, first in line 2)"
    )
    assert load(train_file=path, label_names=["ham", "HAM", " ham", "spam"]).label_names[1] == "HAM"


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["x"], "every row has the same label, 'x'"),
        (["0.0", "1.0"], "numbers with a fraction: 0.0, 1.0"),
        ([f"l{i}" for i in range(30)], "30 different values in 40 rows"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: list[str], problem: str) -> None:
    rows = [(f"text {i}", labels[i % len(labels)]) for i in range(40)]
    assert problem in str(refusal(train_file=csv_file(tmp_path / "a.csv", rows)))


BAD = [
    ({"text": None, "label": "a"}, "text is null; fill it in, or remove the row"),
    ({"text": 5, "label": "a"}, "text is the number 5 instead of a string; put it in quotes"),
    ({"text": ["a"], "label": "a"}, "text is a list instead of a string; write one string"),
    ({"text": {"a": 1}, "label": "a"}, "text is an object instead of a string; write one string"),
    ({"label": "a"}, "no text in this row; add text, or remove the row"),
    ({"text": "", "label": "a"}, "text is empty; fill it in, or remove the row"),
    ({"text": " \t", "label": "a"}, "text is empty; fill it in, or remove the row"),
    ({"text": "x"}, "no label in this row; fill it in"),
    ({"text": "x", "label": None}, "the label is missing; fill it in"),
    ({"text": "x", "label": " "}, "the label is missing; fill it in"),
    ({"text": "x", "label": 1.0}, "the label is the number 1.0; classes are strings or integers; write 1"),
    ({"text": "x", "label": 0.3}, "the label is the number 0.3; classes are strings or integers; a regression"),
    ({"text": "x", "label": ["a"]}, "the label is a list; write a string or an integer"),
    ({"text": "x", "label": 1}, "the label is the number 1, while the rows before have strings; write all labels"),
    ({"text": "x", "label": True}, "the label is true, while the rows before have strings; write all labels"),
    ("str", "a string instead of an object"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_bad_row_is_an_error_with_file_and_line_or_skipped_and_listed(
    tmp_path: Path, row: object, message: str
) -> None:
    good = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)]
    path = json_lines(tmp_path / "a.jsonl", [*good[:10], row, *good[10:]])
    text = str(refusal(train_file=path))
    assert text.startswith("1 of 21 rows cannot be used; mend them, or leave them out with data.on_bad_row: skip")
    assert f"\n  {path}:11 {message}" in text
    splits = load(train_file=path, on_bad_row="skip")
    assert len(splits.train) + len(splits.validation) == 20
    (skipped,) = splits.skipped
    assert (skipped.file, skipped.line) == (path, 11)
    assert message.startswith(skipped.reason)
    assert f"1 of 21 rows of {path} left out (data.on_bad_row: skip)" in splits.notes


def test_the_first_five_bad_rows_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    rows = [(f"text {i}", "" if i % 5 == 0 else "ab"[i % 2]) for i in range(50)]
    text = str(refusal(train_file=csv_file(tmp_path / "a.csv", rows)))
    assert "10 of 50 rows" in text
    assert [f"a.csv:{line} the label is missing" in text for line in (2, 7, 12, 17, 22, 27)] == [True] * 5 + [False]
    assert text.endswith("and 5 more")


def test_skipping_every_row_is_no_way(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "a.jsonl", ["a", "b"])
    assert "2 of 2 rows cannot be used\n" in str(refusal(train_file=path, on_bad_row="skip"))


def test_a_header_without_rows_is_an_error(tmp_path: Path) -> None:
    assert "there is no row in it" in str(refusal(train_file=csv_file(tmp_path / "a.csv", [])))


def test_a_text_file_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert "no column is clearly the label (columns: text)" in str(refusal(train_file=str(tmp_path / "a.txt")))


def test_a_row_that_cannot_be_read_is_told_along_with_columns_that_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9\n")
    message = str(refusal(train_file=str(tmp_path / "a.txt")))
    assert "no column is clearly the label" in message
    assert (
        f"also, {tmp_path / 'a.txt'}:2 byte 0xe9 at offset 7 of the file is not utf-8; data.encoding: cp1252" in message
    )


def test_files_below_the_working_directory_are_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.csv").write_text("")
    assert str(refusal(train_file=str(tmp_path / "sub" / "a.csv"))).startswith(str(Path("sub", "a.csv")))


def test_a_column_that_the_validation_file_lacks_is_one_error_and_not_one_a_row(tmp_path: Path) -> None:
    validation = csv_file(tmp_path / "v.csv", header="text,category")
    error = refusal(train_file=csv_file(tmp_path / "t.csv"), validation_file=validation)
    assert str(error).startswith(f"{validation} no such column: label")


def test_given_validation_and_test_files_are_left_as_they_are(tmp_path: Path) -> None:
    files: dict[str, Any] = {
        f"{name}_file": csv_file(tmp_path / f"{name}.csv", GOOD[i:])
        for i, name in enumerate(("train", "validation", "test"))
    }
    splits = load(**files)
    assert splits.test is not None
    assert [len(split) for split in splits.all()] == [60, 59, 58]
    assert splits.validation.texts == [text for text, _ in GOOD[1:]]


def test_limits_draw_rows_with_the_seed_after_the_split(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv")
    whole = load(train_file=path, validation_size=20)
    part = load(train_file=path, validation_size=20, max_train_samples=10, max_eval_samples=5)
    assert (len(part.train), len(part.validation)) == (10, 5)
    assert set(part.train.texts) < set(whole.train.texts)
    assert set(part.validation.texts) < set(whole.validation.texts)
    assert "10 of 40 train rows drawn (data.max_train_samples, seed 1)" in part.notes


@pytest.mark.parametrize("size", [60, 2.5, 1000])
def test_a_validation_size_that_does_not_fit_is_an_error(tmp_path: Path, size: float) -> None:
    path = csv_file(tmp_path / "a.csv")
    assert "data.validation_size" in str(refusal(train_file=path, validation_size=float(size)))


def test_no_data_and_two_kinds_of_data_are_errors(tmp_path: Path) -> None:
    assert "no training data" in str(refusal())
    assert "data.train_file" in str(refusal(train_file="a.csv", dataset_name="imdb"))


def test_a_folder_of_splits_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    csv_file(tmp_path / "train.csv")
    csv_file(tmp_path / "my-dev.csv", GOOD[:9])
    json_lines(tmp_path / "test.jsonl", [{"text": "t", "label": "ham"}])
    (tmp_path / "README.md").write_text("not data")
    splits = load(dataset_name=str(tmp_path))
    assert [len(split) for split in splits.all()] == [60, 9, 1]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["train.csv", "train.tsv"], "more than one train file: train.csv, train.tsv"),
        (["train.csv", "dev.csv", "valid.csv"], "more than one validation file: dev.csv, valid.csv"),
        (["train.csv", "extra.csv"], "extra.csv is of no split by its name"),
        (["train_test.csv"], "train_test.csv is of two splits by its name"),
        (["test.csv"], "no training file among test.csv"),
        ([], "the folder holds no data files"),
    ],
)
def test_a_folder_with_a_file_that_has_no_clear_place_is_an_error(
    tmp_path: Path, names: list[str], problem: str
) -> None:
    for name in names:
        csv_file(tmp_path / name)
    assert problem in str(refusal(dataset_name=str(tmp_path)))


def test_the_parts_of_a_split_are_read_in_order(tmp_path: Path) -> None:
    for part in range(2):
        rows = [{"text": text, "label": label} for text, label in GOOD[part * 30 : part * 30 + 30]]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"train-0000{part}-of-00002.parquet")
    splits = load(dataset_name=str(tmp_path), validation_size=1)
    assert labelled(splits) == dict(GOOD)
    assert splits.train.source == str(tmp_path / "train-*.parquet")


def test_what_the_datasets_library_saved_keeps_its_class_names_and_hidden_test_labels_make_no_test_set(
    tmp_path: Path,
) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    train = {"text": [f"text {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    saved = datasets.DatasetDict(
        train=datasets.Dataset.from_dict(train, features=features),
        test=datasets.Dataset.from_dict({"text": ["a", "b"], "label": [-1, -1]}, features=features),
    )
    saved.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "parquet").mkdir()
    saved["train"].to_parquet(str(tmp_path / "parquet" / "train.PARQUET"))
    for folder in ("saved", "parquet"):
        splits = load(dataset_name=str(tmp_path / folder))
        assert splits.label_names == ("neg", "pos"), folder
        assert labelled(splits) == {f"text {i}": ("neg", "pos")[i % 2] for i in range(40)}
        assert splits.test is None
    assert "has no labels" in str(load(dataset_name=str(tmp_path / "saved")).notes)
    assert "label is missing (-1)" in str(refusal(dataset_name=str(tmp_path / "saved"), test_split="test"))

    from ftkit.data.reading.hub import dataset_source

    source = dataset_source("somewhere", "train", saved["train"])
    assert source.class_names == {"label": ("neg", "pos")}
    assert [row.line for row in source.rows()] == list(range(1, 41))


def test_a_split_of_another_name_is_named_in_the_recipe(tmp_path: Path) -> None:
    csv_file(tmp_path / "train.csv")
    csv_file(tmp_path / "test.csv", GOOD[:9])
    splits = load(dataset_name=str(tmp_path), validation_split="test", test_split="test")
    assert splits.validation.texts == [text for text, _ in GOOD[:9]]
    error = refusal(dataset_name=str(tmp_path), validation_split="dev")
    assert str(error) == f"{tmp_path} no split dev (data.validation_split); splits here: test, train"


def test_a_hub_data_set_that_is_not_cached_is_refused_when_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    message = str(refusal(dataset_name="some/where"))
    assert "some/where is not in the local cache, and HF_HUB_OFFLINE is set" in message
    assert "data.train_file" in message


def test_loading_a_local_file_imports_nothing_heavy(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv")
    program = (
        "import sys; from ftkit.tasks.classification.form import load_splits;"
        "from ftkit.recipe.labelled import LabelledData;"
        f"spec = LabelledData(train_file={path!r}, max_train_samples=9);"
        "s = load_splits(spec, seed=1); s.train.texts; s.train.labels;"
        "print(*{'pandas', 'datasets', 'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["['toxic', 'threat']", "['toxic']", "[]"], "are lists, such as"),
        (["toxic,threat", "toxic", "threat"], "several in one, parted by ','"),
        (["a|b", "b|c", "c|a"], "several in one, parted by '|'"),
        (["0.5", "1.25", "2"], "numbers with a fraction"),
    ],
)
def test_labels_that_are_several_in_one_are_no_classes_for_check_and_new(
    tmp_path: Path, labels: list[str], problem: str
) -> None:
    path = tmp_path / "a.csv"
    rows = [f'some words {row},"{labels[row % len(labels)]}"' for row in range(30)]
    path.write_text("\n".join(["text,label", *rows, ""]))
    with pytest.raises(UserError, match=re.escape(problem)):
        load_splits(LabelledData(train_file=str(path)), seed=1)
    with pytest.raises(UserError, match=re.escape(problem)):
        new_recipe(read_head(path, FileReading(), named={}), start=None, path=tmp_path / "r.yaml", model=None)
    named = LabelledData(train_file=str(path), label_names=list(dict.fromkeys(labels)))
    assert len(load_splits(named, seed=1).label_names) == len(labels)


def test_classes_that_hold_a_comma_are_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    labels = ["music, film", "sports", "home, garden"]
    rows = [f'some words {row},"{labels[row % 3]}"' for row in range(30)]
    path.write_text("\n".join(["text,label", *rows, ""]))
    assert load_splits(LabelledData(train_file=str(path)), seed=1).label_names == tuple(sorted(labels))
