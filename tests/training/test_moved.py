"""A run that is moved away or removed while it trains does not come to be again under its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftkit
from tests.faults.tiny_runs import KINDS, SHORT, write_tiny_runs
from tests.fixtures.tiers import slow_but


@pytest.mark.parametrize("kind", slow_but(["classification"], KINDS))
def test_no_folder_that_is_made_for_a_run_makes_the_run_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    run, away = tmp_path / "runs" / kind, tmp_path / "away"
    made: list[str] = []

    def gone_meanwhile(make: Callable[..., None]) -> Callable[..., None]:
        """The same, tried first while the run is elsewhere."""

        def tried(path: Any, *args: Any, **options: Any) -> None:
            if not run.is_dir():
                return make(path, *args, **options)
            made.append(str(path))
            run.rename(away)
            try:
                make(path, *args, **options)
            except FileNotFoundError:
                away.rename(run)
                return make(path, *args, **options)
            assert not run.exists(), path
            away.rename(run)
            return None

        return tried

    write_tiny_runs(tmp_path)
    monkeypatch.setattr(os, "makedirs", gone_meanwhile(os.makedirs))
    monkeypatch.setattr(Path, "mkdir", gone_meanwhile(Path.mkdir))
    overrides = () if kind == "frozen" else SHORT
    ftkit.train(tmp_path / f"{kind}.yaml", [*overrides, f"training.output_dir={run}"])
    ftkit.evaluate(run, effort="quick")
    shutil.rmtree(run)
    assert len(made) > 3, made
