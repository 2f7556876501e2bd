"""`ftkit builtin`: the models and data sets that need no hub, and which of them are on this machine."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ftkit.cli.console import show_json
from ftkit.cli.streams import commanding


def builtin(as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False) -> None:
    """List the models and data sets that need no hub.

    Write `builtin:NAME` in a recipe to use one.
    """
    from ftkit.commands.builtin import listing

    found = listing()
    if as_json:
        show_json(found, indent=2)
    else:
        _print_tables(found)


def _print_tables(listing: dict[str, list[dict[str, Any]]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(file=commanding(sys.stdout))
    for title, size in (("models", "bytes"), ("data", "rows")):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        # A name that is folded cannot be copied into a recipe.
        table.add_column(f"{title}: name", no_wrap=True)
        table.add_column("what it is")
        table.add_column("size", justify="right", no_wrap=True)
        table.add_column("on this machine")
        for entry in listing[title]:
            amount = _megabytes(entry["bytes"]) if size == "bytes" else f"{entry['rows']:,} rows"
            table.add_row(entry["name"], entry["description"], amount, entry["state"])
        console.print(table)


def _megabytes(num_bytes: int) -> str:
    # Two figures tell 0.21 from 0.45 MB; beyond ten megabytes the fraction is noise.
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes < 10_000_000 else f"{num_bytes / 1e6:.0f} MB"
