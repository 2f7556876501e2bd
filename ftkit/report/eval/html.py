"""An evaluation as one HTML file: no script, nothing loaded, to be read on a screen, offline and on paper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ftkit.diagnosis.report import Report
from ftkit.diagnosis.verdict import TITLES
from ftkit.report.eval.plots import svg_plots
from ftkit.report.eval.strips import STRIP_WIDTH, coloured_tokens, strip_of
from ftkit.report.eval.view import view_of
from ftkit.report.eval.wording import FILTERS
from ftkit.report.safe import printable
from ftkit.report.templates import rendered

HTML_ROWS = 50
"""Rows of a table; report.json has the rest."""
HTML_TEXT = 400
TOKENS_SHOWN = 400
DOCUMENTS_SHOWN = 5
"""Documents whose tokens are shown."""
PLOT_TITLES = {
    "curve": "Learning curve",
    "fit": "Train against validation",
    "forgetting": "Forgetting by document",
    "reliability": "Calibration",
    "confusion": "Confusion",
}


def report_html(report: Report) -> str:
    """The whole report as one file.

    Every text of a user is escaped; the same report gives the same bytes.
    """
    view, plots = view_of(report), svg_plots(report)
    return rendered(
        "report/eval/report.html.jinja",
        filters={**FILTERS, "strip": strip_of, "coloured": coloured_tokens, "text": _shown, "clean": printable},
        report=report,
        view=view,
        tone=_tone(report),
        also_fired=[TITLES[name] for name in report.verdict.fired if name != report.verdict.headline],
        plots=plots,
        plot_titles=PLOT_TITLES,
        documents=[one for one in report.forgetting if one.tokens][:DOCUMENTS_SHOWN],
        drift_share=_drift_share(report),
        left_out=[*_left_out(report, {plot.name for plot in plots}), *view.absences],
        shown=HTML_ROWS,
        tokens_shown=TOKENS_SHOWN,
        strip_width=STRIP_WIDTH,
    )


def _shown(text: str) -> str:
    return printable(text, limit=HTML_TEXT)


def _tone(report: Report) -> str:
    """CSS class of the headline."""
    if report.verdict.headline == "healthy":
        return "clear"
    return "cannot_tell" if report.verdict.headline in {"cannot_tell", "too_little_data"} else "fired"


def _drift_share(report: Report) -> Mapping[str, float]:
    """Width of the bar of each group of layers, in percent of the longest."""
    finite = {name: value for name, value in report.drift.items() if math.isfinite(value)}
    largest = max(finite.values(), default=0.0) or 1.0
    return {name: round(100 * finite.get(name, largest) / largest, 1) for name in report.drift}


def _left_out(report: Report, drawn: set[str]) -> Iterator[tuple[str, str]]:
    """What the page does not show, and why."""
    classifies = report.unit == "example"
    reasons = {
        "curve": "fewer than two evaluations of the training are known",
        "fit": "no model was scored on both train and validation",
        "forgetting": "no single documents of a reference were scored for the base and the kept model",
        "reliability": "the validation set was not classified" if classifies else "only classifiers have a confidence",
        "confusion": "the validation set was not classified" if classifies else "only classifiers confuse labels",
    }
    for name, reason in reasons.items():
        if name not in drawn:
            # a check that looked for the same may know it better
            yield PLOT_TITLES[name], report.absent.get(name) or _reason_of_check(report, name) or reason
    if report.forgetting and not any(one.tokens for one in report.forgetting):
        yield "Forgetting token by token", report.absent.get("tokens", "the losses of single tokens were not kept")
    if not report.worst:
        yield "Worst errors", report.absent.get("worst", "no error on validation was kept")
    if not report.suspects:
        yield "Suspect rows", report.absent.get("suspects", "no row is suspected")
    if not report.drift:
        yield "Distance of the weights", report.absent.get("drift", "the weights were not held against the base's")


def _reason_of_check(report: Report, name: str) -> str:
    return next((check.summary for check in report.verdict.checks if check.name == name and not check.evidence), "")
