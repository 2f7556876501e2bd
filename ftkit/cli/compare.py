"""`ftkit compare RUN RUN ...`: runs held against one another, and which differences are real."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ftkit.cli.console import screen_width, show_json, show_lines


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN ...", help="Two to eight run directories.")],
    against: Annotated[Path | None, typer.Option(metavar="RUN", help="The baseline; default: the first run.")] = None,
    split: Annotated[Literal["validation", "test", "all"], typer.Option(help="Whose predictions are paired.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Show runs side by side, and which differences are real.

    Each run is paired with the baseline on the rows that both predicted; a difference counts as real when Holm's
    correction over all comparisons of the split lets it.
    """
    from ftkit.commands import compare as comparing
    from ftkit.report.comparison import comparison_lines

    splits = comparing.SPLITS if split == "all" else (split,)
    found = comparing.compare(runs, against=against, splits=splits)
    if as_json:
        show_json(found.to_dict(), indent=2)
    else:
        show_lines(comparison_lines(found, width=screen_width()))
