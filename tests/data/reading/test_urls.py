"""Files that a URL names, from a server of this machine: fetched once a version, and read as files are."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftkit.data.reading.urls import local_file
from ftkit.errors import UserError
from ftkit.recipe.dump import dump_recipe
from ftkit.tasks.table import read_recipe, task_of

ASKED: list[str] = []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        ASKED.append(f"{self.command} {self.path}")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    ASKED.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write(file: Path, rows: int) -> None:
    file.write_text("text,label\n" + "".join(f"row {n},{'ab'[n % 2]}\n" for n in range(rows)))


def test_a_recipe_names_files_by_urls_alone_and_among_its_sources(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, server = served
    write(folder / "a.csv", 40)
    for train in (f"{server}/a.csv?raw=true", [{"file": f"{server}/a.csv", "name": "far"}, "near.csv"]):
        write(tmp_path / "near.csv", 20)
        recipe = {
            "task": "classification",
            "model": {"name_or_path": "builtin:tiny-bert"},
            "data": {"train_file": train},
        }
        (tmp_path / "r.yaml").write_text(json.dumps(recipe))
        data = read_recipe(tmp_path / "r.yaml").recipe.data
        splits = task_of("classification").load_splits(data, seed=0)
        assert len(splits.train) == 40 + 20 * isinstance(train, list)
        assert any("a.csv" in note and "fetched, 0.0 MB" in note for note in splits.notes)


def test_a_file_is_fetched_once_until_it_changes_there_and_read_without_the_network(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, server = served
    write(folder / "a.csv", 4)
    first, notes = local_file(f"{server}/a.csv", []), list[str]()
    assert local_file(f"{server}/a.csv", notes) == first
    assert notes == []
    write(folder / "a.csv", 6)
    os.utime(folder / "a.csv", (1e9, 1e9))
    second = local_file(f"{server}/a.csv", notes)
    assert (len(first.read_text().splitlines()), len(second.read_text().splitlines())) == (5, 7)
    # as large as before, and later
    (folder / "a.csv").write_text(second.read_text().replace("row", "new"))
    second = local_file(f"{server}/a.csv", notes)
    assert "new 5" in second.read_text()
    monkeypatch.setenv("HF_HUB_OFFLINE", "true")
    asked = len(ASKED)
    assert local_file(f"{server}/a.csv", notes) == second
    assert "is not asked" in notes[-1]
    with pytest.raises(UserError, match="never fetched"):
        local_file(f"{server}/b.csv", [])
    assert len(ASKED) == asked


def test_what_opens_a_url_is_not_told_to_other_people(tmp_path: Path) -> None:
    files = ["https://me:secret@host:8/a/b.csv?token=secret#secret", {"file": "s3://bucket/c.csv?secret"}]
    recipe = {"task": "causal_lm", "model": {"name_or_path": "a/b"}, "data": {"train_file": files}}
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    read = read_recipe(tmp_path / "r.yaml").recipe
    assert "secret" in dump_recipe(read)
    told = dump_recipe(read, folders=False)
    assert "secret" not in told
    assert "https://host:8/a/b.csv" in told


def test_what_is_not_there_is_one_error_with_its_address(served: tuple[Path, str]) -> None:
    with pytest.raises(UserError, match="cannot be fetched") as caught:
        local_file(f"{served[1]}/nothing.csv", [])
    assert caught.value.where == f"{served[1]}/nothing.csv"
    with pytest.raises(UserError, match="s3fs"):
        local_file("s3://bucket/a.csv", [])
