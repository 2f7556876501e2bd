"""An evaluation as GitHub markdown, with everything that was found."""

from __future__ import annotations

from ftkit.diagnosis.report import Report
from ftkit.report.eval.view import view_of
from ftkit.report.eval.wording import FILTERS
from ftkit.report.safe import code, escaped
from ftkit.report.templates import rendered

MARKDOWN_ROWS = 100
"""Rows of a list; report.json has the rest."""


def report_markdown(report: Report) -> str:
    """The whole report; texts of users stand in it as code, which nothing renders."""
    filters = {**FILTERS, "escaped": escaped, "code": code}
    return rendered(
        "report/eval/report.md.jinja", filters=filters, report=report, view=view_of(report), shown=MARKDOWN_ROWS
    )
