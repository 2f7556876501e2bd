"""One look for all figures of an evaluation, and a figure as SVG that is the same on every machine."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import quoteattr

from ftkit.diagnosis.report import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "train": "#0072B2",
    "validation": "#D55E00",
    "base": "#000000",
    "best": "#009E73",
    "final": "#CC79A7",
    "margin": "#555555",
}
"""Told apart by people who do not see red, green or blue as others do.

Source: Okabe and Ito 2008, Color Universal Design.
"""
MARKERS = {"train": "o", "validation": "s", "base": "s", "best": "o", "final": "^"}
SIZES = {"base": 7.0, "best": 9.0, "final": 5.0}
"""Points of a marker; the best model is seen around the final one where the two are the same."""
LINES = {"train": "-", "validation": "--"}
"""So that a print in grey tells them apart too."""
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "ftkit",
}


class Plot(NamedTuple):
    """A figure to be shown; the caption says what one sees, and of how many examples."""

    name: str
    svg: str
    caption: str


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Draw within it; what a user set for figures of their own does not reach in."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # characters that the font lacks are drawn by the reader's browser, whose fonts know more
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


def new_axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """An empty figure of a width and a height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def to_svg(figure: Figure, *, name: str, label: str) -> str:
    """A figure as an `<svg>` element, made within `house_style`; `label` is what a screen reader says.

    The name goes before every id, so that figures of one page do not mix theirs up.
    """
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    # a rule for every element would reach the rest of the page
    svg = svg.replace('<style type="text/css">*', f'<style type="text/css">#{name}-figure_1 *')
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    return svg.replace("<svg ", f'<svg role="img" aria-label={quoteattr(label)} ', 1).strip()


def known(score: Score) -> float:
    """Value of a score that has one."""
    assert score.value is not None, "undefined scores are left out of figures"
    return score.value


def ends(score: Score) -> tuple[float, float]:
    """Interval of a score; the score itself where it has none."""
    return (known(score) if score.low is None else score.low, known(score) if score.high is None else score.high)


def arms(scores: Sequence[Score]) -> list[list[float]]:
    """Lengths of error bars, below and above."""
    bars = [(known(score), *ends(score)) for score in scores]
    return [[max(0.0, value - low) for value, low, _ in bars], [max(0.0, high - value) for value, _, high in bars]]
