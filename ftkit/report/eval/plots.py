"""Figures of an evaluation: learning curves, train against validation, forgetting, and those of a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ftkit.diagnosis.measurements import MODELS
from ftkit.diagnosis.report import Point, Report, Score
from ftkit.report.eval.class_plots import confusion_figure, reliability_figure
from ftkit.report.eval.plot_style import (
    COLOURS,
    LINES,
    MARKERS,
    SIZES,
    Plot,
    arms,
    ends,
    house_style,
    known,
    new_axes,
    to_svg,
)
from ftkit.report.eval.view import NUMBERED_CLASSES
from ftkit.report.eval.wording import FILTERS, number
from ftkit.report.templates import rendered

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg_plots(report: Report) -> list[Plot]:
    """Every figure that the report has the numbers for.

    The same report gives the same bytes.
    """
    drawn = {
        "curve": curve_figure,
        "fit": fit_figure,
        "forgetting": forgetting_figure,
        "reliability": reliability_figure,
        "confusion": confusion_figure,
    }
    plots = []
    with house_style():
        for name, draw in drawn.items():
            if (figure := draw(report)) is not None:
                text = _caption(report, name)
                plots.append(Plot(name, to_svg(figure, name=name, label=text), text))
    return plots


def _caption(report: Report, name: str) -> str:
    return rendered(
        "report/eval/caption.jinja",
        filters=FILTERS,
        name=name,
        report=report,
        pairs=_fit_pairs(report),
        num_right=sum(row[place] for place, row in enumerate(report.confusion)),
        numbered_classes=NUMBERED_CLASSES,
    ).strip()


def curve_figure(report: Report) -> Figure | None:
    """Loss of the train probe and of validation over the steps, with 95 % bands; None for fewer than two points."""
    sides = {
        name: [(point, getattr(point, name)) for point in report.curve if getattr(point, name).value is not None]
        for name in ("train", "validation")
    }
    if max(map(len, sides.values())) < 2:
        return None
    figure, axes = new_axes((7.2, 3.8))
    for name, points in sides.items():
        steps, bounds = [point.step for point, _ in points], [ends(score) for _, score in points]
        lows, highs = [low for low, _ in bounds], [high for _, high in bounds]
        axes.fill_between(steps, lows, highs, color=COLOURS[name], alpha=0.18, linewidth=0)
        axes.plot(
            steps, [score.value for _, score in points], LINES[name], color=COLOURS[name], marker=MARKERS[name],
            markersize=4 if len(points) <= 40 else 0, label=name,
        )  # fmt: skip
    if report.best_step is not None:
        axes.axvline(report.best_step, color=COLOURS["best"], linewidth=1.2, linestyle=":")
        offset, side = _beside(report)
        axes.annotate(
            f"best, step {report.best_step:,}", (report.best_step, 1), xycoords=("data", "axes fraction"),
            xytext=(offset, 0.0), textcoords="offset points", va="top", ha=side, color=COLOURS["best"],
        )  # fmt: skip
    axes.set(xlabel=f"optimizer steps{_passes(report.curve)}", ylabel=f"loss (nats per {report.unit})")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if axes.get_ylim()[0] < 0.5:
        axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _beside(report: Report) -> tuple[float, str]:
    """Offset of the mark's label and its alignment: right of the mark, left of it where there is no room."""
    last = max(point.step for point in report.curve)
    return (4.0, "left") if report.best_step is not None and report.best_step < 0.75 * last else (-4.0, "right")


def _passes(curve: Sequence[Point]) -> str:
    last = curve[-1]
    if not last.epoch:
        return ""
    passes = f"{last.epoch:,.0f}" if last.epoch >= 100 else f"{last.epoch:.3g}"
    return f" ({last.step:,} are {passes} passes)"


class FitPair(NamedTuple):
    """The losses of a model on what it was trained on and on what it was not."""

    model: str
    train: Score
    validation: Score


def fit_figure(report: Report) -> Figure | None:
    """Validation loss over train loss of base, best and final, with both intervals; None without such a pair."""
    pairs = _fit_pairs(report)
    if not pairs:
        return None
    figure, axes = new_axes((4.6, 4.2))
    for name, train, validation in pairs:
        axes.errorbar(
            [known(train)], [known(validation)], xerr=arms([train]), yerr=arms([validation]), fmt=MARKERS[name],
            color=COLOURS[name], capsize=2.5, markersize=SIZES[name], elinewidth=1.2, markeredgecolor="white",
            markeredgewidth=0.6, label=name, clip_on=False, zorder=3,
        )  # fmt: skip
    values = [bound for _, train, validation in pairs for score in (train, validation) for bound in ends(score)]
    room = 0.08 * (max(values) - min(values) or 1)
    # no loss is below 0
    limits = (max(0.0, min(values) - room), max(values) + room)
    axes.plot(
        limits, limits, color=COLOURS["margin"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, label="as good on both"
    )
    axes.set(xlim=limits, ylim=limits, box_aspect=1)
    axes.set(xlabel=f"train loss (nats per {report.unit})", ylabel=f"validation loss (nats per {report.unit})")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _fit_pairs(report: Report) -> list[FitPair]:
    found: list[FitPair] = []
    for name in MODELS:
        sets = report.table.get(name, {})
        train, validation = (sets.get(which, {}).get("loss") for which in ("train", "validation"))
        if train and validation and train.value is not None and validation.value is not None:
            found.append(FitPair(name, train, validation))
    return found


def forgetting_figure(report: Report) -> Figure | None:
    """Rise of the loss of each reference document, the largest first; None without documents."""
    rises = sorted((rise for rise in _rises(report) if math.isfinite(rise)), reverse=True)
    if not rises:
        return None
    figure, axes = new_axes((7.2, 3.0))
    colours = [COLOURS["validation"] if rise > 0 else COLOURS["train"] for rise in rises]
    axes.bar(range(1, len(rises) + 1), rises, color=colours, width=0.8)
    axes.axhline(0, color="black", linewidth=0.8)
    for value, words, style in _forgetting_lines(report):
        axes.axhline(value, color="black", linewidth=1.1, linestyle=style, label=f"{words} {number(value)}")
    axes.set(xlabel="reference document, by its rise", ylabel="rise of the loss\n(nats per token)")
    axes.set_xlim(0.3, len(rises) + 0.7)
    axes.grid(axis="x", visible=False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _rises(report: Report) -> list[float]:
    return [document.tuned - document.base for document in report.forgetting]


def _forgetting_lines(report: Report) -> list[tuple[float, str, str]]:
    found = [check.evidence[0] for check in report.verdict.checks if check.name == "forgetting" and check.evidence]
    if not found:
        return []
    n = report.rows.get("reference", len(report.forgetting))
    lines = ((found[0].value, f"mean of all {n:,},", "-"), (found[0].margin, "margin of the mean,", ":"))
    return [(value, words, style) for value, words, style in lines if value is not None]
