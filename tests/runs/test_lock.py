"""One process, one run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.progress import Silent
from ftkit.runs.lock import is_held_elsewhere, lock_file, locked


def test_a_lock_names_its_holder_and_is_gone_afterwards(tmp_path: Path):
    run = tmp_path / "runs" / "a"
    with locked(run, reporter=Silent()):
        assert json.loads(lock_file(run).read_text())["pid"] == os.getpid()
        assert not is_held_elsewhere(run)
    assert not lock_file(run).exists()
    assert not run.parent.exists(), "where no run came to be, no folder for it stays"


def test_a_held_run_is_refused_by_the_name_of_its_holder(tmp_path: Path):
    with locked(tmp_path / "a", reporter=Silent()):
        with pytest.raises(UserError, match=f"process {os.getpid()} on "), locked(tmp_path / "a", reporter=Silent()):
            pass
        # the refusal takes nothing away from the holder
        with pytest.raises(UserError), locked(tmp_path / "a", reporter=Silent()):
            pass


def test_what_a_dead_holder_left_is_taken_over_and_said(tmp_path: Path):
    lock_file(tmp_path / "a").write_text('{"pid": 1234567, "host": "elsewhere", "since": "then"}')
    assert not is_held_elsewhere(tmp_path / "a")
    reporter = Silent()
    with locked(tmp_path / "a", reporter=reporter):
        pass
    assert "process 1234567 on elsewhere (since then), which is gone" in reporter.messages[0]


def test_a_lock_that_says_nonsense_is_a_lock_all_the_same(tmp_path: Path):
    lock_file(tmp_path / "a").write_text("\x00 nonsense")
    with locked(tmp_path / "a", reporter=Silent()), pytest.raises(UserError), locked(tmp_path / "a", reporter=Silent()):
        pass


def test_the_same_run_by_another_path_has_the_same_lock(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert lock_file(tmp_path / "link" / "a") == lock_file(tmp_path / "a")
