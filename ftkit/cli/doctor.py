"""`ftkit doctor`: the machine, and whether a killed run comes back on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.console import ConsoleReporter, leave_hub_alone, show_json
from ftkit.errors import EXIT_RUN
from ftkit.runs.folder import RUNS

MARKS = {True: "ok", False: "NO", None: "  "}


def doctor(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs, or will.")] = RUNS,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the hub.")] = False,
    self_test: Annotated[
        bool, typer.Option(help="Train a tiny model, kill it, resume it, compare the weights.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False,
) -> None:
    """Show versions, hardware, disk and hub, and test that a killed run comes back."""
    leave_hub_alone(offline)
    from ftkit.commands.doctor import examine

    good = True
    for finding in examine(folder, offline=offline, self_test=self_test, reporter=ConsoleReporter()):
        good = good and finding.good is not False
        if as_json:
            show_json(asdict(finding))
        else:
            typer.echo(f"{MARKS[finding.good]}  {finding.name:<22} {finding.says}")
    if not good:
        raise typer.Exit(EXIT_RUN)
