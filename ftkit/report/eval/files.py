"""The report of an evaluation as files: report.json for programs, report.md and report.html for people."""

from __future__ import annotations

from pathlib import Path

from ftkit.diagnosis.report import Report
from ftkit.report.eval.html import report_html
from ftkit.report.eval.markdown import report_markdown
from ftkit.storage import write_json, write_text

JSON_FILE, MARKDOWN_FILE, HTML_FILE = "report.json", "report.md", "report.html"


def write_report(report: Report, folder: Path) -> None:
    """Write the three files, each whole or not at all; the folder is made, in one that is there."""
    folder.mkdir(exist_ok=True)
    write_json(folder / JSON_FILE, report.to_dict())
    write_text(folder / MARKDOWN_FILE, report_markdown(report))
    write_text(folder / HTML_FILE, report_html(report))
