"""`ftkit doctor` looks, tries, and says what will not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.commands import doctor
from ftkit.errors import UserError
from ftkit.progress import Silent


def found(folder: Path, *, self_test: bool = False) -> dict[str, doctor.Finding]:
    findings = doctor.examine(folder, offline=True, self_test=self_test, reporter=Silent())
    return {finding.name: finding for finding in findings}


@pytest.mark.slow
def test_a_run_is_killed_and_resumed_and_ends_the_same_and_nothing_is_left_behind(tmp_path: Path):
    seen = found(tmp_path, self_test=True)["self-test"]
    assert seen.good, seen.says
    assert "the same to the bit" in seen.says
    assert list(tmp_path.iterdir()) == []


def test_versions_precision_and_disk_are_told_without_the_hub(tmp_path: Path):
    seen = found(tmp_path / "not-yet-there")
    assert seen["torch"].says
    assert "float32" in seen["precision"].says
    assert "switched off" in seen["hub"].says
    assert seen["disk"].good
    assert str(tmp_path) in seen["disk"].says
    assert "self-test" not in seen


def test_a_place_where_no_run_can_lie_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        found(tmp_path / "file")


def test_a_run_that_ends_in_other_weights_is_not_called_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    digests = iter(["one", "another"])
    monkeypatch.setattr(doctor, "sha256_file", lambda _path: next(digests))
    seen = found(tmp_path, self_test=True)["self-test"]
    assert seen.good is False
    assert "other weights" in seen.says
