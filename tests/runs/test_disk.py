"""Room on the disk is counted before the work that needs it."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from ftkit.disk import writing_told
from ftkit.errors import RunError, UserError
from ftkit.runs.disk import disk_failures_told, refuse_little_space_for_model
from ftkit.runs.run import Run

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free_mebibytes(monkeypatch: pytest.MonkeyPatch):
    def leave(number: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2**40, 0, number * 2**20))

    return leave


def test_a_model_that_cannot_be_saved_is_refused_before_its_training(tmp_path, free_mebibytes):
    free_mebibytes(100)
    refuse_little_space_for_model(Run(tmp_path / "a"), 60 * 2**20)
    with pytest.raises(UserError, match=r"a needs 0.12 GiB more \(the finished model\), and 0.098 GiB are free"):
        refuse_little_space_for_model(Run(tmp_path / "a"), 92 * 2**20)


def test_the_disk_that_is_full_is_named_and_not_that_of_the_run(tmp_path):
    cache = tmp_path / "cache" / "features"
    with pytest.raises(RunError) as caught, disk_failures_told(Path("/nowhere/run")), told(cache):
        raise OSError(28, "No space left on device")
    said = str(caught.value)
    assert said.startswith(f"{cache} could not be written: No space left on device; ")
    assert said.endswith("set FTKIT_CACHE, then go on with --resume")
    assert "/nowhere" not in said


def told(place: Path):
    return writing_told(place, fix="set FTKIT_CACHE")
