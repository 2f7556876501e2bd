"""`ftkit train recipe.yaml`: from a recipe to a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.console import ConsoleReporter, OwnMetrics, leave_hub_alone, show_json, show_lines
from ftkit.errors import UserError, typed


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Values that replace the recipe's: training.learning_rate=1e-3 ...; with --resume also the checkpoint "
            "to go on from, instead of the newest one that is whole."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run of this name.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an existing run that was stopped.")] = False,
    allow_changed: Annotated[
        list[str] | None,
        typer.Option("--allow-changed", metavar="FIELD", help="With --resume: go on although this field has changed."),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the whole recipe on a tiny model and a few rows, in seconds.")
    ] = False,
    metric: OwnMetrics = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Train what a recipe describes and write a run directory."""
    if resume and overwrite:
        raise UserError("--resume goes on with a run, --overwrite removes it", fix="give one of the two")
    if allow_changed and not resume:
        raise UserError("--allow-changed is about a run that goes on", fix="add --resume")
    values, asked = _checkpoint_among(overrides or (), resume=resume)
    if metric and smoke:
        raise UserError("--metric measures a whole run", fix="leave it out with --smoke")
    leave_hub_alone(offline or smoke)
    if smoke:
        from ftkit.commands.smoke.smoke import smoke_test

        show_lines(smoke_test(recipe, values, reporter=ConsoleReporter()))
        return
    from ftkit.commands.eval import curve_verdict
    from ftkit.commands.train import train as train_recipe_file

    result = train_recipe_file(
        recipe,
        values,
        overwrite=overwrite,
        resume=asked or resume,
        allow_changed=allow_changed or (),
        own_metrics=metric or (),
        reporter=ConsoleReporter(),
    )
    verdict = curve_verdict(result.run)
    if as_json:
        show_json({"run": str(result.run.path), "metrics": result.metrics, "verdict": verdict})
        return
    from ftkit.report.terminal import metrics_lines

    show_lines(metrics_lines(result.metrics))
    typer.echo(f"verdict: {verdict} ({typed('ftkit', 'eval', result.run.path)})")
    typer.echo(f"run: {result.run.path}")


def _checkpoint_among(words: Sequence[str], *, resume: bool) -> tuple[list[str], Path | None]:
    """Overrides, and the checkpoint that stands among them: the one word after --resume that is no key=value."""
    values = [word for word in words if "=" in word or not resume]
    others = [word for word in words if word not in values]
    if len(others) > 1:
        raise UserError(f"--resume takes one checkpoint, not {len(others)}: {', '.join(others)}")
    if others and not Path(others[0]).is_dir():
        raise UserError(f"there is no checkpoint {others[0]}", fix="--resume alone takes the newest one that is whole")
    return values, Path(others[0]) if others else None
