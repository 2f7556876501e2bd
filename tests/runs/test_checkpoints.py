"""Sealed checkpoints: what counts, what is kept, and what an interrupted move leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.progress import Silent
from ftkit.runs.checkpoints import Checkpoints, Progress
from ftkit.runs.seals import SEAL_FILE, BrokenSeal, read_seal, seal_folder

HASHES = {"recipe": "a", "data": {"train": "b"}}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", HASHES, limit=2)


def fill(checkpoints: Checkpoints, step: int) -> Path:
    folder = checkpoints.begin() / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes([step]) * 100)
    (folder / "deep").mkdir()
    (folder / "deep" / "rank-0.bin").write_bytes(b"x")
    return folder


def save(checkpoints: Checkpoints, step: int, *, best: int | None = None) -> Path:
    fill(checkpoints, step)
    return checkpoints.finish(Progress(step=step, best_step=best))


def flip(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: flip(folder / "model.safetensors"), "the bytes of model.safetensors have changed"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "has 0 bytes instead of 100"),
        (lambda folder: (folder / "deep" / "rank-0.bin").unlink(), "deep/rank-0.bin is missing"),
        (lambda folder: (folder / "more.bin").write_bytes(b""), "more.bin is not in its"),
        (lambda folder: (folder / SEAL_FILE).unlink(), "not written to its end"),
        (lambda folder: (folder / SEAL_FILE).write_text("{"), "cannot be read"),
        (lambda folder: (folder / SEAL_FILE).write_text("[]"), "does not say what it should"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "x"), "model.safetensors is missing"),
    ],
)
def test_whatever_happens_to_a_sealed_folder_is_noticed(checkpoints: Checkpoints, damage, says: str):
    folder = save(checkpoints, 1)
    assert sum(entry["bytes"] for entry in read_seal(folder).files.values()) == 101
    damage(folder)
    with pytest.raises(BrokenSeal, match=says):
        read_seal(folder)


def test_a_link_inside_a_sealed_folder_is_refused(checkpoints: Checkpoints, tmp_path: Path):
    folder = save(checkpoints, 1)
    (tmp_path / "outside").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "outside")
    with pytest.raises(BrokenSeal, match="symbolic link"):
        read_seal(folder)


def test_a_folder_that_is_sealed_twice_speaks_of_its_files_as_they_are(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    seal_folder(tmp_path, {})
    (tmp_path / "a").write_text("22")
    seal_folder(tmp_path, {})
    assert read_seal(tmp_path).files["a"]["bytes"] == 2


def test_the_newest_and_the_best_are_kept_and_older_ones_let_go(checkpoints: Checkpoints):
    for step in (1, 2, 3, 4):
        save(checkpoints, step, best=2 if step >= 2 else 1)
    assert checkpoints.steps() == [4, 2]


def test_with_no_best_the_newest_ones_are_kept(checkpoints: Checkpoints):
    for step in (1, 2, 3):
        save(checkpoints, step)
    assert checkpoints.steps() == [3, 2]


def test_an_older_one_is_there_until_the_newer_one_is_sealed(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", HASHES, limit=1)
    save(checkpoints, 1)
    fill(checkpoints, 2)
    assert checkpoints.steps() == [1]
    checkpoints.finish(Progress(step=2))
    assert checkpoints.steps() == [2]


def test_the_newest_that_verifies_is_taken_and_the_others_are_named(checkpoints: Checkpoints):
    for step in (1, 2):
        save(checkpoints, step)
    flip(checkpoints.path(2) / "model.safetensors")
    reporter = Silent()
    found = checkpoints.newest(reporter=reporter)
    assert found is not None
    assert found.progress.step == 1
    assert reporter.messages == ["checkpoint-2 is skipped: the bytes of model.safetensors have changed"]


def test_a_checkpoint_whose_best_one_is_damaged_cannot_be_gone_on_from(checkpoints: Checkpoints):
    save(checkpoints, 1, best=1)
    save(checkpoints, 2, best=1)
    flip(checkpoints.path(1) / "model.safetensors")
    reporter = Silent()
    assert checkpoints.newest(reporter=reporter) is None
    assert "the best checkpoint before it, checkpoint-1, is lost" in reporter.messages[0]


def test_a_checkpoint_of_something_else_does_not_count_unless_that_was_allowed(checkpoints: Checkpoints):
    folder = save(checkpoints, 1)
    other = Checkpoints(checkpoints.folder, {"recipe": "z"})
    with pytest.raises(BrokenSeal, match="made of something else"):
        other.open(folder)
    assert Checkpoints(checkpoints.folder, {"recipe": "z"}, former=[HASHES]).open(folder).progress.step == 1


def test_a_checkpoint_under_another_name_does_not_count(checkpoints: Checkpoints):
    renamed = save(checkpoints, 1).rename(checkpoints.path(9))
    with pytest.raises(BrokenSeal, match="of step 1"):
        checkpoints.open(renamed)


def test_a_save_killed_between_seal_and_name_is_found_again(checkpoints: Checkpoints):
    save(checkpoints, 1)
    folder = fill(checkpoints, 2)
    facts = json.loads((checkpoints.path(1) / SEAL_FILE).read_text())["facts"] | {"step": 2}
    seal_folder(folder, facts)
    found = checkpoints.newest(reporter=Silent())
    assert found is not None
    assert found.path == checkpoints.path(2)
    assert not checkpoints.staging.exists()


def test_a_save_killed_before_its_seal_leaves_nothing(checkpoints: Checkpoints):
    save(checkpoints, 1)
    fill(checkpoints, 2)
    found = checkpoints.newest(reporter=Silent())
    assert found is not None
    assert found.progress.step == 1
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["checkpoint-1"]


def test_a_step_written_again_replaces_the_one_that_was_there(checkpoints: Checkpoints):
    save(checkpoints, 1)
    fill(checkpoints, 1)
    (checkpoints.staging / "checkpoint-1" / "more.bin").write_bytes(b"new")
    checkpoints.finish(Progress(step=1, best_step=1))
    assert "more.bin" in read_seal(checkpoints.path(1)).files
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["checkpoint-1"]
