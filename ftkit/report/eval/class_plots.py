"""Figures of a classifier's answers: how far its confidence can be trusted, and what it takes for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftkit.diagnosis.report import Report, Score
from ftkit.report.eval.plot_style import COLOURS, arms, new_axes
from ftkit.report.eval.view import NUMBERED_CLASSES, class_names
from ftkit.report.safe import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELLED_CLASSES = 80
"""Of more classes only some are named."""
LABEL_SHOWN = 22


def reliability_figure(report: Report) -> Figure | None:
    """Share of right answers over confidence, with 95 % intervals, and the rows of each bin; None without bins."""
    from matplotlib.figure import Figure

    from ftkit.diagnosis.intervals import rate_bounds

    if not report.calibration:
        return None
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=COLOURS["margin"], linewidth=0.9, linestyle=(0, (4, 3)), label="calibrated")
    where = [one.confidence for one in report.calibration]
    rates = [Score(one.accuracy, *rate_bounds(round(one.accuracy * one.n), one.n), one.n) for one in report.calibration]
    upper.errorbar(
        where, [one.accuracy for one in report.calibration], yerr=arms(rates), fmt="-o", color=COLOURS["validation"],
        markersize=5, capsize=2.5, elinewidth=1, linewidth=1, label="kept model",
    )  # fmt: skip
    upper.set(ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    bars = lower.bar(where, [one.n for one in report.calibration], width=0.045, color="#999999")
    lower.bar_label(bars, [f"{one.n:,}" for one in report.calibration], fontsize=7, padding=1)
    lower.set(xlabel="confidence of the answer", ylabel="rows")
    lower.margins(y=0.3)
    lower.grid(axis="x", visible=False)
    return figure


def confusion_figure(report: Report) -> Figure | None:
    """Expected against predicted labels, coloured by the share of the expected label's rows; None without a matrix."""
    import numpy as np

    if not report.confusion:
        return None
    counts = np.asarray(report.confusion, dtype=np.float64)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    classes = len(counts)
    side = min(9.5, 2.6 + (0.42 if classes <= NUMBERED_CLASSES else 0.1) * classes)
    figure, axes = new_axes((side + 0.9, side))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    axes.grid(visible=False)
    _label_classes(axes, report, classes)
    if classes <= NUMBERED_CLASSES:
        for expected, predicted in np.ndindex(classes, classes):
            dark = shares[expected, predicted] > 0.55
            axes.text(
                predicted, expected, f"{counts[expected, predicted]:.0f}", ha="center", va="center",
                color="white" if dark else "black" if counts[expected, predicted] else "#888888",
            )  # fmt: skip
    axes.set(xlabel="predicted", ylabel="expected")
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the expected label's rows")
    return figure


def _label_classes(axes: Axes, report: Report, classes: int) -> None:
    every = -(-classes // LABELLED_CLASSES)
    places = list(range(0, classes, every))
    names = class_names(report)
    texts = [_short(printable(" ".join(names[place].split()))) for place in places]
    size = 9.0 if classes <= NUMBERED_CLASSES else max(4.0, min(8.0, 480 / classes))
    # a dollar sign in a label is no formula
    axes.set_xticks(places, texts, rotation=45 if classes <= NUMBERED_CLASSES else 90, fontsize=size, parse_math=False)
    if classes <= NUMBERED_CLASSES:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(places, texts, fontsize=size, parse_math=False)
    axes.tick_params(length=0 if classes <= NUMBERED_CLASSES else 1.5)


def _short(label: str) -> str:
    # labels of one family often differ at their end
    half = LABEL_SHOWN // 2
    return label if len(label) <= LABEL_SHOWN else f"{label[:half]}..{label[-half + 2 :]}"
