"""`ftkit builtin`: the models and data sets that need no hub, and which of them are on this machine."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from ftkit.cli.console import screen_width, show_json, show_lines


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
    """A line for what is looked for and copied, and what it is below that, in lines that fit the terminal."""
    indent = " " * 6
    for title, size in (("models", "bytes"), ("data", "rows")):
        typer.echo(f"{title}: size, on this machine")
        width = max(len(entry["name"]) for entry in listing[title])
        for entry in listing[title]:
            amount = _megabytes(entry["bytes"]) if size == "bytes" else f"{entry['rows']:,} rows"
            typer.echo(f"  {entry['name']:<{width}}  {amount:>11}  {entry['state']}")
            told = textwrap.wrap(entry["description"], screen_width(), initial_indent=indent, subsequent_indent=indent)
            show_lines(told)


def _megabytes(num_bytes: int) -> str:
    # Two figures tell 0.21 from 0.45 MB; beyond ten megabytes the fraction is noise.
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes < 10_000_000 else f"{num_bytes / 1e6:.0f} MB"
