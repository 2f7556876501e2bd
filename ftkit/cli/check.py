"""`ftkit check recipe.yaml`: is the recipe right, is the data fit, what will it cost?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.console import leave_hub_alone, show_json, show_lines


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
    leave_hub_alone(offline)
    from ftkit.commands import check as checking
    from ftkit.report import check as report
    from ftkit.tasks.table import read_recipe

    loaded = read_recipe(recipe, overrides or ())
    values = checking.resolved_values(loaded)
    if not as_json:
        show_lines(report.recipe_lines(values))
    found = checking.check_data(loaded) if data else None
    if as_json:
        show_json(report.check_json(values, found), indent=2)
    elif found is not None:
        show_lines(report.data_lines(found))
        show_lines(report.plan_lines(found.plan))
