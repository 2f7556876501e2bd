"""`ftkit runs`: the runs of a folder and how they came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.console import show_json
from ftkit.runs.folder import RUNS


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs.")] = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run.")] = False,
) -> None:
    """List runs, newest first, with their main metric."""
    from ftkit.commands.runs import summaries

    found = summaries(folder)
    if as_json:
        for run in found:
            show_json(run._asdict())
        return
    if not found:
        typer.echo(f"no runs in {folder}")
        return
    width = max(len(run.name) for run in found)
    for run in found:
        typer.echo(f"{run.name:<{width}}  {run.started:<25}  {run.state:<8}  {run.score}".rstrip())
