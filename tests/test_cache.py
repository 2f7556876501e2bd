"""The cache: made once by many processes, sealed, and believed only when every byte is as it was made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit.cache import build_once, cache_root, known_sha256
from ftkit.errors import RunError, UserError
from ftkit.unfinished import sweep


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
from ftkit.cache import build_once
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


def test_what_a_killed_build_left_goes_with_the_next_build_beside_it_and_what_lives_stays(tmp_path, cache):
    leftover = killed_build(cache, tmp_path / "gate")
    living = start(BUILD, str(tmp_path / "gate"))
    assert wait_for_line(living) == "building"
    assert not leftover.exists()
    (making,) = (cache / "things").iterdir()
    sweep(cache / "things")
    assert making.exists()
    (tmp_path / "gate").touch()
    assert wait_for_line(living) == str(cache / "things" / "one")


def filled(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "numbers.bin").write_bytes(bytes(range(256)) * 50)
    (folder / "facts.json").write_text('{"a": 1}')


def flip(path: Path) -> None:
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda folder: flip(folder / "deep" / "numbers.bin"),
    "a cut file": lambda folder: os.truncate(folder / "deep" / "numbers.bin", 100),
    "an empty file": lambda folder: os.truncate(folder / "facts.json", 0),
    "a lost file": lambda folder: (folder / "facts.json").unlink(),
    "a file too many": lambda folder: (folder / "more").touch(),
    "a flipped bit in the seal": lambda folder: flip(folder / ".seal.json"),
    "a cut seal": lambda folder: os.truncate(folder / ".seal.json", 40),
    "another seal": lambda folder: (folder / ".seal.json").write_text("[]"),
    "no seal": lambda folder: (folder / ".seal.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_in_the_cache_is_said_in_one_line_and_made_anew(cache, caplog, damage):
    folder = build_once("a/b", filled)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    damage(folder)
    assert build_once("a/b", filled) == folder
    assert [record.getMessage().count("is made anew") for record in caplog.records] == [1]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in (cache / "a").iterdir()] == ["b"]


def test_a_hash_that_was_remembered_wrongly_is_taken_again(cache, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"12345")
    digest = known_sha256(file)
    (note,) = (cache / "hashes").iterdir()
    for damaged in (note.read_text().replace(digest[:8], "00000000"), "[]", "{", ""):
        note.write_text(damaged)
        assert known_sha256(file) == digest


def test_a_cache_that_is_removed_while_it_is_filled_is_told(cache):
    with pytest.raises(RunError, match="was removed while b was being made in it; run the command again"):
        build_once("a/b", lambda folder: (shutil.rmtree(cache), (folder / "x").touch()))


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set FTKIT_CACHE to a folder"):
        build_once("a/b", lambda folder: None)
