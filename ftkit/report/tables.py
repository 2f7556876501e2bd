"""Cells in, aligned lines out: every table that a terminal shows, and the same as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

LINE_WIDTH = 110
"""Characters of a line, where nothing says how wide the terminal is."""


def table_lines(
    rows: Iterable[Sequence[str]], *, align: str = "<", widths: Sequence[int] = (), gap: int = 2, indent: int = 0
) -> list[str]:
    """Rows of cells beneath one another.

    Args:
        rows: of cells, whose number may differ from row to row.
        align: `<` or `>` for each column; the last one is that of every further column too.
        widths: of the columns in terminal cells, the last one also of every further column. What is wider than its
            column pushes the rest of its line. Without them a column is as wide as its widest cell.

    Example:
        >>> print(*table_lines([["", "rows"], ["train", "1,200"], ["test", "80"]], align="<>"), sep="\\n")
                rows
        train  1,200
        test      80
    """
    rows = [list(row) for row in rows]
    widths = widths or widest(rows)
    return [(" " * indent + (" " * gap).join(_filled(row, align=align, widths=widths))).rstrip() for row in rows]


def _filled(cells: Sequence[str], *, align: str, widths: Sequence[int]) -> Iterator[str]:
    for place, cell in enumerate(cells):
        yield padded(cell, widths[min(place, len(widths) - 1)], side=align[min(place, len(align) - 1)])


def widest(rows: Iterable[Sequence[str]]) -> list[int]:
    """Terminal cells that the widest cell of each column takes."""
    return [max(map(cells_of, column)) for column in zip_longest(*rows, fillvalue="")]


def padded(text: str, width: int, *, side: str = "<") -> str:
    """A text filled up with spaces to a number of terminal cells: a character of Chinese takes two of them.

    Example:
        >>> padded("42", 5, side=">"), padded("茶", 5)
        ('   42', '茶   ')
    """
    spaces = " " * (width - cells_of(text))
    return spaces + text if side == ">" else text + spaces


def cells_of(text: str) -> int:
    """Cells that a text takes in a terminal; a line break counts as one."""
    from rich.cells import cell_len

    return cell_len(text.replace("\n", " "))


def hanging(text: str, *, indent: int, width: int = LINE_WIDTH) -> list[str]:
    """A text folded at a width; its second and further lines are indented."""
    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)


def shortened(text: str, most: int) -> str:
    """The first characters of a text, and ` ...` where there are more.

    Example:
        >>> shortened("a long text", 6), shortened("short", 6)
        ('a long ...', 'short')
    """
    return text if len(text) <= most else f"{text[:most]} ..."


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown, the first row its head; what would end a cell is the caller's to escape.

    Example:
        >>> print(markdown_table([["split", "rows"], ["train", "12"]]))
        | split | rows |
        | --- | --- |
        | train | 12 |
    """
    head, *body = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body))
