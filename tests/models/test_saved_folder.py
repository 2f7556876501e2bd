from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.commands.generate import generate
from ftkit.errors import UserError
from ftkit.models.saved_folder import model_folder


def test_a_builtin_model_is_asked_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (row,) = generate("builtin:tiny-gpt2", "one two", max_new_tokens=3, use_cpu=True)
    assert row["new_tokens"] == 3
    with pytest.raises(UserError, match="tiny-gpt2"):
        model_folder(Path("builtin:tiny-gpt3"))


def test_a_hub_id_is_looked_for_in_the_cache_and_a_mistyped_run_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="local hub cache"):
        model_folder(Path("somebody/model"))
    (tmp_path / "runs").mkdir()
    for name in ("runs/typo", "typo", "./somebody-else/x/y", "/nowhere/at-all"):
        with pytest.raises(UserError, match="neither a run nor a model folder"):
            model_folder(Path(name))
