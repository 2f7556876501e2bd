"""`ftkit check recipe.yaml`: is the recipe right, is the data fit, what will it cost?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.console import go_offline, quiet_libraries


def check(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values that replace the recipe's: training.learning_rate=1e-3 ...")
    ] = None,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Read and audit the data too, and plan.")] = True,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Audit a recipe and its data, and plan the run.

    Shows every value with where it came from, before step 1.
    """
    quiet_libraries()
    if offline:
        go_offline()
    from ftkit.commands import check as checking
    from ftkit.report import check as report

    loaded = checking.check_recipe(recipe, overrides or ())
    values = checking.resolved_values(loaded)
    if not as_json:
        for line in report.recipe_lines(values):
            typer.echo(line)
    found = checking.check_data(loaded) if data else None
    if as_json:
        typer.echo(json.dumps(report.check_json(values, found), ensure_ascii=False, indent=2))
    elif found is not None:
        for line in (*report.data_lines(found), *report.plan_lines(found.plan)):
            typer.echo(line)
