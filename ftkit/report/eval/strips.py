"""Small drawings of the HTML report: an interval held against its margin, and tokens coloured by their rise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ftkit.diagnosis.verdict import Evidence
from ftkit.report.eval.wording import number, score_text
from ftkit.report.safe import printable

STRIP_WIDTH = 240
"""Of a strip, in pixels."""
INSET = 14
STRONG = 2.0
"""Nats of rise at which a token has its full colour."""
MARKED = 0.7
"""Nats at which a token is underlined as well: about half as probable as before."""


class Strip(NamedTuple):
    """Places on a strip of STRIP_WIDTH pixels; where there is no interval, its ends lie at the figure.

    `anchor` is the text-anchor with which the margin's label stays within; `label` says all of it in words.
    """

    zero: float
    value: float
    low: float
    high: float
    margin: float | None
    margin_text: str
    anchor: str
    label: str


class Token(NamedTuple):
    """A piece of a text with its CSS colour, whether it is underlined too, and its rise in words."""

    text: str
    background: str
    marked: bool
    title: str


def strip_of(evidence: Evidence) -> Strip | None:
    """The places of a figure, its interval, its margin and nought on one scale; None where there is no figure.

    Example:
        >>> strip = strip_of(Evidence("", 0.5, 0.25, 0.75, 1.0))
        >>> strip.zero, strip.low, strip.value, strip.margin
        (14.0, 67.0, 120.0, 226.0)
    """
    figures = [evidence.value, evidence.low, evidence.high, evidence.margin]
    known = [figure for figure in figures if figure is not None]
    if evidence.value is None or not all(math.isfinite(figure) for figure in known):
        return None
    start, end = min(0.0, *known), max(0.0, *known)
    scale = (STRIP_WIDTH - 2 * INSET) / ((end - start) or 1.0)

    def place(figure: float) -> float:
        return round(INSET + (figure - start) * scale, 1)

    margin = None if evidence.margin is None else place(evidence.margin)
    words = "" if evidence.margin is None else f"margin {number(evidence.margin)}"
    return Strip(
        zero=place(0.0),
        value=place(evidence.value),
        low=place(evidence.value if evidence.low is None else evidence.low),
        high=place(evidence.value if evidence.high is None else evidence.high),
        margin=margin,
        margin_text=words,
        anchor="middle" if margin is None or 45 <= margin <= STRIP_WIDTH - 45 else "start" if margin < 45 else "end",
        label=f"{score_text(evidence)}{', ' if words else ''}{words}",
    )


def coloured_tokens(tokens: Sequence[tuple[str, float]]) -> list[Token]:
    """Pieces of a document: orange where their loss rose, blue where it fell, the stronger the more."""
    found = []
    for text, rise in tokens:
        strength = min(1.0, abs(rise) / STRONG) if math.isfinite(rise) else 1.0
        colour = "213,94,0" if not rise < 0 else "0,114,178"
        background = f"rgba({colour},{0.65 * strength:.2f})"
        found.append(Token(printable(text), background, rise >= MARKED, f"{rise:+.2f} nats"))
    return found
