from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ftkit.disk import DiskError, refuse_place
from ftkit.errors import UserError
from ftkit.storage import atomic_path, held_folder, scratch_folder, sha256_file, sha256_texts, write_json, write_text


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


def test_a_written_file_has_the_permissions_of_the_umask(tmp_path):
    target = tmp_path / "a.txt"
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


def test_what_a_killed_write_left_goes_with_the_next_write_into_its_folder_and_what_lives_stays(tmp_path):
    living, killed = (start(WRITE_HALF, str(tmp_path / name)) for name in ("living.txt", "killed.txt"))
    assert wait_for_line(living) == wait_for_line(killed) == "half written"
    killed.kill()
    killed.wait()
    others = [tmp_path / name for name in (".notes.markdown", ".report.txt.original")]
    for other in others:
        other.touch()
    later = start("import sys; from ftkit.storage import *; write_text(Path(sys.argv[1]), '')", str(tmp_path / "c.txt"))
    later.wait()
    living_file = next(tmp_path.glob(".living.txt.*"))
    living.kill()
    living.wait()
    assert {path.name for path in tmp_path.iterdir()} == {"c.txt", living_file.name, *(path.name for path in others)}


def test_a_file_that_was_made_meanwhile_is_left_alone_and_what_was_written_is_kept_beside_it(tmp_path):
    target = tmp_path / "rows.jsonl"
    with pytest.raises(UserError, match=r"made meanwhile .* what was written is in .*rows.jsonl-2"):
        write_both(target)
    assert target.read_text() == "theirs"
    assert (tmp_path / "rows.jsonl-2").read_text() == "ours"
    assert len(list(tmp_path.iterdir())) == 2


def write_both(target: Path) -> None:
    with atomic_path(target, replace=False) as temporary:
        temporary.write_text("ours")
        target.write_text("theirs")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "x"),
        OSError(errno.EROFS, "x", "/tmp/named"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
        Exception("IO Error: No space left on device (os error 28)"),
    ],
)
def test_a_write_that_the_disk_refuses_names_the_file_its_disk_and_what_is_free(tmp_path, error):
    with pytest.raises(DiskError) as caught, atomic_path(tmp_path / "a.json"):
        raise error
    named = getattr(error, "filename", None) or tmp_path / "a.json"
    assert str(caught.value).startswith(f"{named} could not be written: ")
    assert re.search(r"[0-9.]+ GiB are free on its disk, /", str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_for_temporary_files_that_is_full_is_told_with_its_variable(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(DiskError, match=r"set TMPDIR to a folder on another disk"), scratch_folder("trial") as folder:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "model"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_held_is_written_to_where_it_lies_and_named_as_it_was_called(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    with held_folder(here) as held:
        here.rename(there)
        os.makedirs(held / "below", exist_ok=True)
        assert (there / "below").is_dir()
        with pytest.raises(FileNotFoundError) as caught, held_folder(there) as again:
            (again / "none" / "file").write_text("")
        assert caught.value.filename == str(there / "none" / "file")
        shutil.rmtree(there)
        with pytest.raises(FileNotFoundError):
            os.makedirs(held / "below", exist_ok=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_into_a_folder_that_is_there_alone(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "run" / "metrics.json", "{}")
    assert list(tmp_path.iterdir()) == []
