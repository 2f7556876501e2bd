"""`ftkit train recipe.yaml`: from a recipe to a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.console import ConsoleReporter, go_offline, quiet_libraries
from ftkit.errors import UserError


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values that replace the recipe's: training.learning_rate=1e-3 ...")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run of this name.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an existing run that was stopped.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the whole recipe on a tiny model and a few rows, in seconds.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Train what a recipe describes and write a run directory."""
    if resume and overwrite:
        raise UserError("--resume goes on with a run, --overwrite removes it", fix="give one of the two")
    quiet_libraries()
    if offline or smoke:
        go_offline()
    if smoke:
        from ftkit.smoke import smoke_test

        for line in smoke_test(recipe, overrides or (), reporter=ConsoleReporter()):
            typer.echo(line)
        return
    from ftkit import workflows

    result = workflows.train(recipe, overrides or (), overwrite=overwrite, resume=resume, reporter=ConsoleReporter())
    if as_json:
        typer.echo(json.dumps({"run": str(result.run.path), "metrics": result.metrics}, ensure_ascii=False))
        return
    from ftkit.report.terminal import metrics_lines

    for line in metrics_lines(result.metrics):
        typer.echo(line)
    typer.echo(f"run: {result.run.path}")
