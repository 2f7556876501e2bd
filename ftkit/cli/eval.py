"""`ftkit eval RUN`: is it underfit, overfit, or has it forgotten?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.console import ConsoleReporter, OwnMetrics, Trusted, leave_hub_alone, screen_width, show_json, show_lines
from ftkit.errors import EXIT_FOUND, UserError

GROUPS = {
    "overfit": ("overfit", "memorised"),
    "underfit": ("not_converged", "capacity", "domain_gap"),
    "forgetting": ("forgetting",),
    "leakage": ("leakage",),
    "label_noise": ("label_noise",),
    "collapse": ("class_collapse",),
    "no_gain": ("no_gain",),
    "invalid": ("invalid_run",),
    "too_little_data": ("too_little_data",),
}
"""Words of --fail-on -> checks; names of checks are taken too."""


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run, or a model with --data or --recipe.")],
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="With --data: columns and metrics, by keys of a recipe."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Measure a model of any make on the rows of this file, and judge no training."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="For a model that ftkit did not train: the recipe that names data.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes long.")] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Train shortly with other settings too, however long the run took.")
    ] = False,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="CHECKS",
            help="End with exit code 4 when one of these fires: overfit, underfit, forgetting, leakage, label_noise, "
            "collapse, no_gain, invalid, too_little_data, or the name of a check; separated by commas.",
        ),
    ] = None,
    apply: Annotated[
        Path | None, typer.Option("--apply", metavar="OUT.YAML", help="Write the recipe with the advice in it.")
    ] = None,
    metric: OwnMetrics = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the report instead of RUN/eval.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub.")] = False,
    trust_remote_code: Trusted = False,
) -> None:
    """Say whether a run is underfit, overfit or has forgotten, with the evidence and what to change.

    With --data FILE: what a run, a folder, a builtin: model or one of the hub gives the rows of that file.
    """
    if data is not None:
        judging = {
            "--recipe": recipe,
            "--quick": quick,
            "--thorough": thorough,
            "--fail-on": fail_on,
            "--apply": apply,
            "--out": out,
        }
        if given := [option for option, value in judging.items() if value]:
            raise UserError(f"{given[0]} is about a verdict, which --data gives none of", fix="leave it out")
        leave_hub_alone(offline)
        _measure(path, data, values or [], metric or [], as_json=as_json, trust_remote_code=trust_remote_code)
        return
    if values:
        raise UserError(f"{values[0]}: keys of a recipe go with --data", fix="add --data FILE, or leave it out")
    if quick and thorough:
        raise UserError("--quick leaves out what --thorough adds", fix="give one of the two")
    watched = checks_named(fail_on or "")
    if fail_on is not None and not watched:
        raise UserError("--fail-on names no check", fix=f"there are {', '.join(GROUPS)}")
    if apply is not None:
        _refuse_place_of_advice(apply)
    leave_hub_alone(offline)
    from ftkit.commands.eval import advised_recipe, evaluate
    from ftkit.report.eval.terminal import report_lines

    effort = "quick" if quick else "thorough" if thorough else "standard"
    report = evaluate(
        path,
        recipe=recipe,
        effort=effort,  # type: ignore[arg-type]
        out=out,
        own_metrics=metric or (),
        trust_remote_code=trust_remote_code,
        reporter=ConsoleReporter(),
    )
    if apply is not None and report.verdict.changes:
        _write_advice(advised_recipe(path, report), apply)
    if as_json:
        show_json(report.to_dict())
    else:
        show_lines(report_lines(report, width=screen_width()))
        folder = out or (path / "eval" if recipe is None else None)
        _say_what_was_written(folder, apply, changes=bool(report.verdict.changes))
    if fired := [name for name in report.verdict.fired if name in watched]:
        typer.echo(f"--fail-on: {', '.join(fired)}", err=True)
        raise typer.Exit(EXIT_FOUND)


def _measure(
    path: Path, file: Path, values: list[str], own: list[str], *, as_json: bool, trust_remote_code: bool
) -> None:
    """Print what a model gives the rows of a file."""
    from ftkit.commands.asking.measure import NO_VERDICT, measure
    from ftkit.report.terminal import BASE_SPLIT, metrics_lines

    reporter = ConsoleReporter()
    found = measure(path, file, values, own_metrics=own, trust_remote_code=trust_remote_code, reporter=reporter)
    if as_json:
        told = {"model": str(path), "data": str(file), "verdict": None}
        show_json(told | found._asdict())
        return
    base = {BASE_SPLIT + file.name: found.base} if found.base else {}
    show_lines(metrics_lines({file.name: found.metrics, **base}))
    reporter.say(NO_VERDICT)


def _refuse_place_of_advice(apply: Path) -> None:
    from ftkit.disk import refuse_place

    if apply.exists():
        raise UserError(f"{apply} exists and is left alone", fix="name another file")
    refuse_place(apply)


def _write_advice(advice: str, apply: Path) -> None:
    from ftkit.storage import atomic_path

    apply.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(apply, replace=False) as made:
        made.write_text(advice, encoding="utf-8")


def _say_what_was_written(folder: Path | None, apply: Path | None, *, changes: bool) -> None:
    if folder is None:
        typer.echo("no report was written: --out FOLDER names one for a model that is no run")
    else:
        typer.echo(f"report: {folder / 'report.html'}")
    if apply is not None:
        written = f"recipe with the advice: {apply}"
        typer.echo(written if changes else f"there is nothing to change: {apply} was not written")


def checks_named(text: str) -> set[str]:
    """Names of the checks that words of --fail-on stand for.

    Raises:
        UserError: a word that is none of them.
    """
    from ftkit.diagnosis.verdict import CHECKS
    from ftkit.recipe.nearest import nearest

    found: set[str] = set()
    for word in filter(None, (part.strip().replace("-", "_") for part in text.split(","))):
        if word not in GROUPS and word not in CHECKS:
            near = nearest(word, [*GROUPS, *CHECKS])
            fix = f"did you mean {near}?" if near else f"there are {', '.join(GROUPS)}"
            raise UserError(f"--fail-on: no check is called {word!r}", fix=fix)
        found.update(GROUPS.get(word, (word,)))
    return found
