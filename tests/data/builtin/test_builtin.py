from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from ftkit.data.builtin.builtin import BUILTIN_DATA, describe_builtin_data, load_builtin
from ftkit.data.duplicates import normalise
from ftkit.errors import UserError
from ftkit.recipe.labelled import LabelledData
from ftkit.storage import sha256_file
from ftkit.tasks.classification.form import load_splits


def column(name: str, column: str) -> dict[str, list[str]]:
    return {split: table.column(column).to_pylist() for split, table in load_builtin(name).items()}


def test_describing_the_data_sets_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    infos = describe_builtin_data()
    names = ["docstrings", "signatures", "pydoc", "commands", "commands-new"]
    assert [info.name for info in infos] == [f"builtin:{name}" for name in names]
    assert not any(info.ready for info in infos)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text"), [("docstrings", "text"), ("signatures", "target"), ("pydoc", "text"), ("commands", "command")]
)
def test_no_text_is_in_two_splits_and_the_splits_are_about_80_10_10(name: str, text: str) -> None:
    texts = {split: {normalise(value) for value in values} for split, values in column(name, text).items()}
    assert list(texts) == ["train", "validation", "test"]
    for a, b in [("train", "validation"), ("train", "test"), ("validation", "test")]:
        assert not texts[a] & texts[b]
    total = sum(map(len, texts.values()))
    assert 0.7 < len(texts["train"]) / total < 0.9


def test_docstrings_are_twelve_modules_without_duplicates() -> None:
    labels = [label for labels in column("docstrings", "label").values() for label in labels]
    texts = [text for texts in column("docstrings", "text").values() for text in texts]
    counts = Counter(labels)
    assert len(counts) == 12
    assert 1500 < len(texts) < 6000
    assert len({normalise(text) for text in texts}) == len(texts)
    assert max(counts.values()) / len(texts) < 0.4
    named = sum(label.strip("_") in text.lower().split() for text, label in zip(texts, labels, strict=True))
    assert named / len(texts) < 0.1


def test_docstrings_load_as_a_data_set_of_a_recipe() -> None:
    splits = load_splits(LabelledData(dataset_name="builtin:docstrings"), seed=1)
    assert len(splits.label_names) == 12
    assert splits.test is not None


def test_a_data_set_without_labels_says_which_columns_it_has() -> None:
    with pytest.raises(UserError, match=r"builtin:pydoc\[train\] no column is clearly the label \(columns: text\)"):
        load_splits(LabelledData(dataset_name="builtin:pydoc"), seed=1)


def test_signatures_are_python_and_sentences() -> None:
    table = load_builtin("signatures")["train"]
    assert table.column_names == ["source", "target"]
    for source in table.column("source").to_pylist()[::50]:
        name, arguments = source.split("(", 1)
        ast.parse(f"def f({arguments}: pass")
        assert "." in name


def test_no_paragraph_of_pydoc_is_in_two_splits() -> None:
    paragraphs = {
        split: {normalise(part) for text in texts for part in text.split("\n\n")}
        for split, texts in column("pydoc", "text").items()
    }
    assert not paragraphs["train"] & (paragraphs["validation"] | paragraphs["test"])


@pytest.mark.slow
def test_two_makings_are_equal_byte_for_byte(tmp_path: Path) -> None:
    load_builtin("docstrings")
    program = "from ftkit.data.builtin.builtin import load_builtin; load_builtin('docstrings')"
    environment = {**os.environ, "FTKIT_CACHE": str(tmp_path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    cache, folder = Path(os.environ["FTKIT_CACHE"]), BUILTIN_DATA["docstrings"].folder
    for split in ("train", "validation", "test"):
        assert sha256_file(cache / folder / f"{split}.parquet") == sha256_file(tmp_path / folder / f"{split}.parquet")


def test_what_is_made_is_described_by_its_true_size_near_the_stated_one() -> None:
    for name in BUILTIN_DATA:
        load_builtin(name)
    for info in describe_builtin_data():
        stated = BUILTIN_DATA[info.name.removeprefix("builtin:")].rows
        assert info.ready
        assert 0.5 < info.rows / stated < 2, info


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(UserError, match="no built-in data set imdb; there are docstrings, signatures, pydoc"):
        load_builtin("imdb")


def test_a_python_without_its_sources_is_an_error_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(UserError, match="without the sources"):
        load_builtin("docstrings")
    assert list((tmp_path / "cache" / "builtin-data").iterdir()) == []
