"""How a result shows itself in a notebook: a heading and a table, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


def as_html(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, below: Iterable[str] = ()) -> str:
    """A title, a table and lines below it; every text is escaped.

    Example:
        >>> as_html("run", ["metric"], [["a < b"]])
        '<p><b>run</b></p><table><tr><th>metric</th></tr><tr><td>a &lt; b</td></tr></table>'
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    lines = "".join(f"<p>{escape(line)}</p>" for line in below)
    table = f"<table><tr>{head}</tr>{body}</table>" if body else ""
    return f"<p><b>{escape(title)}</b></p>{table}{lines}"


def score_rows(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterable[tuple[str, str, str, str, str]]:
    """Rows of metrics.json that are one number: split, metric, value, its 95 % interval, rows measured."""
    for split, entries in metrics.items():
        for name, entry in entries.items():
            value, low, high = (entry.get(key) for key in ("value", "low", "high"))
            if isinstance(value, int | float):
                interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
                yield split, name, f"{value:.4f}", interval, str(entry["n"])
