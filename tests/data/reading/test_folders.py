from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftkit.data.gather import Source
from ftkit.data.reading.files import iter_rows
from ftkit.data.reading.folders.splits import find_in_folder
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.sources import find_sources
from ftkit.errors import UserError
from ftkit.recipe.data_section import DataSpec


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def values(source: Source, column: str = "text") -> list[object]:
    return [row.values[column] for row in source.rows() if isinstance(row, Row)]


def refusal(folder: Path, config: str | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        find_in_folder(folder, config, [])
    return caught.value


def test_a_folder_of_classes_has_a_row_a_file_each_class_in_turn(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "train",
        {
            "pos/1.txt": "good\n",
            "pos/2": "a\n\nb",
            "neg/9.txt": "bad",
            "neg/.DS_Store": "",
            ".git/x": "",
            "list.txt": "",
        },
    )
    assert list(iter_rows(folder)) == [
        Row(1, {"text": "bad", "label": "neg", "file": "neg/9.txt"}),
        Row(2, {"text": "good", "label": "pos", "file": "pos/1.txt"}),
        Row(3, {"text": "a\n\nb", "label": "pos", "file": "pos/2"}),
    ]


def test_a_file_of_a_class_that_is_no_text_is_one_bad_row_with_its_name(tmp_path: Path) -> None:
    written(tmp_path, {"a/1.txt": b"\xe9", "a/2.txt": "", "a/3.txt.gz": "x", "b/4.txt": "good"})
    rows = list(iter_rows(tmp_path))
    assert [row.reason.split(")")[0] for row in rows if isinstance(row, BadRow)] == [
        "(a/1.txt", "(a/2.txt", "(a/3.txt.gz"]  # fmt: skip
    assert [row.line for row in rows if isinstance(row, Row)] == [2]
    written(tmp_path, {"a/deep/1.txt": "x"})
    with pytest.raises(UserError, match="a folder within a class"):
        list(iter_rows(tmp_path))


def test_sub_folders_called_after_splits_hold_classes_or_parts(tmp_path: Path) -> None:
    written(
        tmp_path / "a", {"train/x/1": "one", "train/y/1": "two", "test/x/2": "three", "train/urls": "", "odd.txt": "-"}
    )
    sources, notes = find_sources(DataSpec(dataset_name=str(tmp_path / "a")))
    assert {split: values(source, "label") for split, source in sources.items()} == {"train": ["x", "y"], "test": ["x"]}
    assert [note.rpartition(": ")[2] for note in notes] == ["odd.txt", "urls"]
    written(tmp_path / "b", {"train/0.jsonl": '{"text": "a"}', "train/1.jsonl": '{"text": "b"}', "dev/0.txt": "c"})
    sources, _ = find_sources(DataSpec(dataset_name=str(tmp_path / "b")))
    assert {split: values(source) for split, source in sources.items()} == {"train": ["a", "b"], "validation": ["c"]}
    written(tmp_path / "b", {"val/0.txt": "d"})
    assert "more than one validation set: dev/0.txt, val/0.txt" in refusal(tmp_path / "b").problem


def test_a_clone_of_a_hub_data_set_has_the_splits_of_its_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(2):
        pq.write_table(pa.table({"text": [f"row {number}"]}), tmp_path / f"data/train-0000{number}-of-00002.parquet")
    pq.write_table(pa.table({"text": ["other"]}), tmp_path / "data/test-00000-of-00001.parquet")
    written(tmp_path, {"README.md": "# no card\n", "LICENSE": ""})
    sources, _ = find_sources(DataSpec(dataset_name=str(tmp_path)))
    assert {split: values(source) for split, source in sources.items()} == {
        "train": ["row 0", "row 1"], "test": ["other"]}  # fmt: skip


CARD = """\
---
license: mit
configs:
- config_name: main
  default: true
  data_files:
  - {split: train, path: "m/tr-*"}
  - {split: held_out, path: [m/x.jsonl]}
- config_name: other
  data_files: "o/*.jsonl"
---
# Words
"""


def test_a_clone_has_the_splits_that_its_card_says(tmp_path: Path) -> None:
    rows = {name: json.dumps({"text": name}) for name in ("m/tr-0.jsonl", "m/tr-1.jsonl", "m/x.jsonl", "o/y.jsonl")}
    written(tmp_path, {"README.md": CARD.replace("\n", "\r\n"), **rows})
    sources, _ = find_sources(DataSpec(dataset_name=str(tmp_path), validation_split="held_out"))
    assert {split: values(source) for split, source in sources.items()} == {
        "train": ["m/tr-0.jsonl", "m/tr-1.jsonl"], "validation": ["m/x.jsonl"]}  # fmt: skip
    assert list(find_in_folder(tmp_path, "other", [])) == ["train"]
    assert "main, other" in str(refusal(tmp_path, "mian").fix)
    written(tmp_path, {"README.md": CARD.replace("default: true", "")})
    assert "2 configurations, and none is the default" in refusal(tmp_path).problem


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("m/x.jsonl", "m/z.jsonl", "no such file"),
        ("m/x.jsonl", "../x.jsonl", "outside of its folder"),
        ("m/x.jsonl", "hf://datasets/x/y.csv", "outside of its folder"),
        ("license: mit", "license: [mit", "YAML cannot be read"),
        ("license: mit", "date: 2024-13-45", "YAML cannot be read"),
        pytest.param("license: mit", "license: " + "[" * 500, "YAML cannot be read", id="deep"),
    ],
)
def test_a_card_that_names_what_is_not_there_is_refused(tmp_path: Path, old: str, new: str, problem: str) -> None:
    written(tmp_path, {"README.md": CARD.replace(old, new), "m/tr-0.jsonl": "{}", "m/x.jsonl": "{}"})
    error = refusal(tmp_path)
    assert problem in error.problem
    assert error.where == str(tmp_path / "README.md")


def test_a_configuration_of_a_folder_that_has_none_is_refused(tmp_path: Path) -> None:
    assert "names configurations" in refusal(written(tmp_path, {"train.txt": "a"}), "en").problem


def test_a_file_that_was_left_on_the_server_by_git_lfs_is_told(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"
    written(tmp_path, {"a.parquet": pointer, "a.csv": pointer})
    for path in tmp_path.iterdir():
        with pytest.raises(UserError, match="Git LFS") as caught:
            list(iter_rows(path))
        assert "git lfs pull" in str(caught.value.fix)
