"""An evaluation as GitHub markdown, with everything that was found."""

from __future__ import annotations

import re

from ftkit.diagnosis.report import Report
from ftkit.report.eval.view import view_of
from ftkit.report.eval.wording import FILTERS, printable
from ftkit.report.templates import rendered

MARKDOWN_ROWS = 100
"""Rows of a list; report.json has the rest."""
MARKDOWN_TEXT = 300


def report_markdown(report: Report) -> str:
    """The whole report; texts of users stand in it as code, which nothing renders."""
    filters = {**FILTERS, "escaped": escaped, "code": code}
    return rendered(
        "report/eval/report.md.jinja", filters=filters, report=report, view=view_of(report), shown=MARKDOWN_ROWS
    )


def escaped(text: str) -> str:
    """A sentence as it is, whatever of it markdown or HTML would take for their own.

    Example:
        >>> print(escaped("a_b <i> 1|2"))
        a\\_b &lt;i&gt; 1\\|2
    """
    flat = " ".join(printable(text).split()).replace("&", "&amp;")
    flat = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", flat)
    return flat.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """A text as code that can stand in a table.

    Example:
        >>> print(code("a | `b`"), code(""))
        `` a \\| `b` `` -
    """
    flat = " ".join(printable(text, limit=MARKDOWN_TEXT).split())
    # a backslash before the pipe would take the one that keeps the pipe from ending the cell
    flat = flat.replace("\\|", "\\ |").replace("|", "\\|")
    if not flat:
        return "-"
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    space = " " if longest else ""
    return f"{'`' * (longest + 1)}{space}{flat}{space}{'`' * (longest + 1)}"
