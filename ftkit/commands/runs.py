"""`ftkit runs`: the runs of a folder and how they came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.errors import UserError
from ftkit.runs.folder import RUNS, list_runs
from ftkit.runs.run import Run


class RunSummary(NamedTuple):
    """A run in one line, its score the main metric in words; what is not known or was not measured is empty."""

    name: str
    path: str
    started: str
    state: str
    score: str


def summaries(folder: Path = RUNS) -> list[RunSummary]:
    """Every run of a folder, newest first.

    Raises:
        UserError: there is no such folder, and it is not the usual one.
    """
    if not folder.is_dir() and folder != RUNS:
        raise UserError(f"there is no folder {folder}", fix="name the folder that holds runs")
    return [_summary(run) for run in list_runs(folder)]


def _summary(run: Run) -> RunSummary:
    try:
        metrics = run.metrics()
    except UserError:
        metrics = {}
    split = "test" if "test" in metrics else "validation"
    started = run.manifest().get("started") or ""
    return RunSummary(run.path.name, str(run.path), started, run.state(), _score(split, metrics.get(split, {})))


def _score(split: str, entries: Mapping[str, Any]) -> str:
    # the loss comes first in metrics.json; people compare runs by what they asked for
    for name, entry in entries.items():
        if name != "loss" and isinstance(value := entry.get("value"), int | float):
            between = "" if entry.get("low") is None else f" ({entry['low']:.4f} to {entry['high']:.4f})"
            return f"{split} {name} {value:.4f}{between}"
    return ""
