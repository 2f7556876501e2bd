from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.storage import (
    SECONDS_UNTIL_STALE,
    atomic_path,
    build_once,
    cache_root,
    refuse_place,
    sha256_file,
    sha256_texts,
    write_json,
    write_text,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FTKIT_CACHE", str(folder))
    return folder


def start(program: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True)


def wait_for_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


WRITE_HALF = """
import sys, time
from pathlib import Path
from ftkit.storage import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary, temporary.open("w") as file:
    file.write("half of the new")
    file.flush()
    print("half written", flush=True)
    time.sleep(60)
"""


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file_whole(tmp_path):
    target = tmp_path / "metrics.json"
    write_text(target, "the old, whole")
    process = start(WRITE_HALF, str(target))
    assert wait_for_line(process) == "half written"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert target.read_text() == "the old, whole"
    write_text(target, "the next")
    assert target.read_text() == "the next"


def test_a_reader_that_has_the_old_file_open_reads_it_to_its_end(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with target.open() as reader:
        write_text(target, "new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


def test_an_error_in_the_middle_of_a_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text(f"new {1 / 0}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_a_written_file_has_the_permissions_of_the_umask_and_its_folder_is_made(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    earlier = os.umask(0o027)
    try:
        write_text(target, "ä\n")
    finally:
        os.umask(earlier)
    assert target.stat().st_mode & 0o777 == 0o640
    assert target.read_bytes() == "ä\n".encode()


def test_json_keeps_its_order_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "ü"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "ü"\n}\n'
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_the_hash_of_texts_notices_a_moved_boundary_and_takes_lone_surrogates(tmp_path):
    assert sha256_texts(["ab", "c"]) != sha256_texts(["a", "bc"])
    assert sha256_texts(["a", ""]) != sha256_texts(["a"])
    assert len(sha256_texts(["\udc80"])) == 64
    (tmp_path / "empty").touch()
    assert sha256_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path, cache):
    assert cache_root() == cache
    monkeypatch.delenv("FTKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "ftkit"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_root() == Path.home() / ".cache" / "ftkit"


BUILD = """
import os, sys, time
from pathlib import Path
from ftkit.storage import build_once
def build(folder):
    print("building", flush=True)
    (folder / "a.txt").write_text(str(os.getpid()))
    if len(sys.argv) > 1:
        while not Path(sys.argv[1]).exists():
            time.sleep(0.01)
    (folder / "b.txt").write_text(str(os.getpid()))
print(build_once("things/one", build), flush=True)
"""


def test_two_processes_that_build_the_same_thing_at_once_both_get_one_whole_copy(tmp_path, cache):
    gate = tmp_path / "gate"
    both = [start(BUILD, str(gate)) for _ in range(2)]
    assert [wait_for_line(process) for process in both] == ["building", "building"]
    assert not (cache / "things" / "one").exists()
    gate.touch()
    assert [wait_for_line(process) for process in both] == [str(cache / "things" / "one")] * 2
    assert [process.wait() for process in both] == [0, 0]
    assert sorted(path.name for path in (cache / "things").iterdir()) == ["one"]
    made = cache / "things" / "one"
    assert (made / "a.txt").read_text() == (made / "b.txt").read_text() in {str(process.pid) for process in both}


def test_what_is_built_is_built_once(cache):
    built = []
    for _ in range(2):
        build_once("a/b", built.append)
    assert len(built) == 1


def test_a_build_that_fails_leaves_nothing(cache):
    with pytest.raises(ZeroDivisionError):
        build_once("a/b", lambda folder: 1 / 0)
    assert list((cache / "a").iterdir()) == []


def killed_build(cache: Path, gate: Path) -> Path:
    process = start(BUILD, str(gate))
    assert wait_for_line(process) == "building"
    process.send_signal(signal.SIGKILL)
    process.wait()
    (leftover,) = (cache / "things").iterdir()
    assert leftover.name.startswith(".one.")
    return leftover


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (then, then))


def test_what_a_killed_build_left_goes_a_day_later_with_the_next_build_beside_it(tmp_path, cache):
    leftover = killed_build(cache, tmp_path / "gate")
    build_once("things/two", lambda folder: None)
    assert leftover.exists(), "it may belong to a process that is at work"
    age(leftover, SECONDS_UNTIL_STALE + 60)
    build_once("things/three", lambda folder: None)
    assert not leftover.exists()
    assert sorted(path.name for path in (cache / "things").iterdir()) == ["three", "two"]


def test_a_build_of_more_than_a_day_is_left_alone_while_it_writes(tmp_path, cache):
    leftover = killed_build(cache, tmp_path / "gate")
    age(leftover, 3 * SECONDS_UNTIL_STALE)
    (leftover / "a.txt").write_text("written just now")
    os.utime(leftover, (0, 0))
    build_once("things/two", lambda folder: None)
    assert leftover.exists()


def test_hidden_folders_of_others_in_the_cache_stay(cache):
    others = cache / "things" / ".git"
    others.mkdir(parents=True)
    age(others, 9 * SECONDS_UNTIL_STALE)
    build_once("things/two", lambda folder: None)
    assert others.exists()


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set FTKIT_CACHE to a folder"):
        build_once("a/b", lambda folder: None)


def test_a_place_for_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "there").touch()
    for place, said in [
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "there", "exists already; name another file, or add --overwrite"),
        (tmp_path / "there" / "in" / "it", r"cannot be made: .*there is a file"),
    ]:
        with pytest.raises(UserError, match=said):
            refuse_place(place)
    refuse_place(tmp_path / "there", overwrite=True)
    refuse_place(tmp_path / "new" / "folder" / "file")
