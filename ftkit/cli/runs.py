"""`ftkit runs`: the runs of a folder and how they came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.runs.run import Run

DEFAULT_FOLDER = Path("runs")


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs.")] = DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run.")] = False,
) -> None:
    """List runs, newest first, with their main metric."""
    from ftkit.runs.run import list_runs

    if not folder.is_dir() and folder != DEFAULT_FOLDER:
        raise UserError(f"there is no folder {folder}", fix="name the folder that holds runs")
    summaries = [_summary(run) for run in list_runs(folder)]
    if as_json:
        for summary in summaries:
            typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    if not summaries:
        typer.echo(f"no runs in {folder}")
        return
    width = max(len(summary["name"]) for summary in summaries)
    for summary in summaries:
        typer.echo(
            f"{summary['name']:<{width}}  {summary['started']:<25}  {summary['state']:<8}  {summary['score']}".rstrip()
        )


def _summary(run: Run) -> dict[str, Any]:
    manifest = run.manifest()
    try:
        metrics = run.metrics()
    except ValueError:
        metrics = {}
    split = "test" if "test" in metrics else "validation"
    name, entry = _main_metric(metrics.get(split, {}))
    value = entry.get("value")
    score = "" if value is None else f"{split} {name} {value:.4f}"
    if entry.get("low") is not None:
        score += f" ({entry['low']:.4f} to {entry['high']:.4f})"
    return {
        "name": run.path.name,
        "path": str(run.path),
        "started": manifest.get("started") or "",
        "state": run.state(),
        "score": score,
    }


def _main_metric(entries: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    # the loss comes first in metrics.json; people compare runs by what they asked for
    for name, entry in entries.items():
        if name != "loss" and isinstance(entry.get("value"), int | float):
            return name, entry
    return "", {}
