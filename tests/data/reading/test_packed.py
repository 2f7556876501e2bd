from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ftkit.data.reading import packed
from ftkit.data.reading.documents import iter_documents
from ftkit.data.reading.files import iter_rows
from ftkit.data.reading.folders.splits import find_in_folder
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.sources import find_sources
from ftkit.errors import UserError
from ftkit.recipe.data_section import DataSpec

LINES = 'text,label\n"one\ntwo",x\nfour,y\n'


def zstandard(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


def zipped(content: bytes, name: str = "in/data.csv") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr("__MACOSX/in/._data.csv", b"litter")
    return sink.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard, ".zip": zipped,
}  # fmt: skip
each = pytest.mark.parametrize("suffix", PACK)


def packed_file(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(PACK[path.suffix](content if isinstance(content, bytes) else content.encode()))
    return path


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        list(iter_rows(path))
    assert caught.value.where == str(path)
    return caught.value


@each
def test_a_compressed_file_has_the_rows_the_lines_and_the_faults_of_what_is_in_it(tmp_path: Path, suffix: str) -> None:
    rows = [Row(2, {"text": "one\ntwo", "label": "x"}), Row(4, {"text": "four", "label": "y"})]
    assert list(iter_rows(packed_file(tmp_path, f"a.CSV{suffix}", LINES))) == rows
    broken = packed_file(tmp_path, f"b.csv{suffix}", "text,label\nprice £5,x\n".encode("cp1252"))
    fault = BadRow(2, "byte 0xa3 at offset 17 of the file is not utf-8", "data.encoding: cp1252 would fit")
    assert list(iter_rows(broken)) == [fault]


def test_every_format_of_text_may_be_compressed_and_a_zip_tells_it_by_what_is_in_it(tmp_path: Path) -> None:
    row = {"text": "four", "label": "y"}
    for name, content in [
        ("a.tsv", "text\tlabel\nfour\ty\n"),
        ("b.json", json.dumps([row])),
        ("c.jsonl", json.dumps(row)),
        ("d.ndjson", json.dumps(row)),
    ]:
        (tmp_path / f"{name}.zip").write_bytes(zipped(content.encode(), name))
        (tmp_path / f"{name[0]}.zip").write_bytes(zipped(content.encode(), name))
        packed_file(tmp_path, f"{name}.xz", content)
    assert len(paths := sorted(tmp_path.iterdir())) == 12
    assert {path.name: [found.values for found in iter_rows(path)] for path in paths} == {
        path.name: [row] for path in paths
    }
    documents = iter_documents(packed_file(tmp_path, "t.txt.gz", "a\n--\nb"), encoding="utf-8", separator="--")
    assert [document.values["text"] for document in documents] == ["a", "b"]


@each
def test_a_cut_or_foreign_compressed_file_is_one_error_that_names_it(tmp_path: Path, suffix: str) -> None:
    whole = PACK[suffix](LINES.encode() * 50)
    for name, content in [("cut", whole[: len(whole) // 2]), ("foreign", LINES.encode())]:
        path = tmp_path / f"{name}.csv{suffix}"
        path.write_bytes(content)
        error = refusal(path)
        assert f"not a whole {suffix} file" in error.problem
        assert "again" in str(error.fix)


def test_a_compressed_file_under_another_name_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    for suffix in (".gz", ".xz", ".zst", ".zip"):
        (tmp_path / "a.csv").write_bytes(PACK[suffix](LINES.encode()))
        assert f"a.csv{suffix}" in str(refusal(tmp_path / "a.csv").fix)


def test_a_zip_of_several_files_or_with_a_password_is_refused_with_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", LINES)
        archive.writestr("test.csv", LINES)
    assert "holds 2 files: train.csv, test.csv" in refusal(path).problem
    secret = bytearray(zipped(LINES.encode()))
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        secret[secret.index(header) + place] |= 1
    path.write_bytes(secret)
    assert "encrypted" in refusal(path).problem


def test_a_file_that_unpacks_to_more_than_a_text_can_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MOST_UNPACKED", 1 << 12)
    assert len(list(iter_rows(packed_file(tmp_path, "a.txt.gz", b"\n" * (1 << 12))))) == 1 << 12
    path = packed_file(tmp_path, "bomb.txt.gz", b"\n" * (1 << 18))
    assert f"{packed.MOST_TIMES} times its size" in refusal(path).problem


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".zip"])  # bzip2 is slow, and has blocks of 900 kB
def test_unpacking_needs_the_same_memory_for_any_size(tmp_path: Path, suffix: str) -> None:
    path = packed_file(tmp_path, f"a.csv{suffix}", bytes(range(256)) * (1 << 16))
    tracemalloc.start()
    with packed.open_bytes(path) as file:
        size = sum(map(len, iter(lambda: file.read(1 << 14), b"")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the window of xz is 8 MiB
    assert peak < 10_000_000 < size == 1 << 24


def test_compressed_files_are_the_splits_of_a_folder_and_the_parts_of_a_split(tmp_path: Path) -> None:
    for number in range(2):
        packed_file(tmp_path, f"train-0000{number}-of-00002.jsonl.gz", json.dumps({"text": f"row {number}"}))
    packed_file(tmp_path, "test.txt.zst", "a line\n")
    assert {split: len(files) for split, files in find_in_folder(tmp_path, None, []).items()} == {"train": 2, "test": 1}
    sources, _ = find_sources(DataSpec(dataset_name=str(tmp_path)))
    assert [row.values["text"] for row in sources["train"].rows()] == ["row 0", "row 1"]
    assert [row.values["text"] for row in sources["test"].rows()] == ["a line"]
