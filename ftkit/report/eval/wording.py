"""Figures and sentences of an evaluation in print, alike in every form of its report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ftkit.diagnosis.report import Score
from ftkit.diagnosis.verdict import TITLES, Change, Check, Evidence, State

STATES: Mapping[State, str] = {
    "fired": "fired",
    "cannot_tell": "cannot tell",
    "clear": "clear",
    "not_applicable": "does not apply",
}
"""States of a check in print, in the order in which they are shown."""


def number(value: float | None) -> str:
    """A figure in about five characters, whatever its size.

    Example:
        >>> [number(value) for value in (0.5874, 12.345, 1234.5, 2.5e6, 0.00042, 0, None)]
        ['0.587', '12.35', '1234', '2e+06', '4e-04', '0.000', 'undefined']
    """
    if value is None or math.isnan(value):
        return "undefined"
    size = abs(value)
    if math.isinf(value) or (value != 0 and not 5e-4 <= size < 1e5):
        return f"{value:.0e}"
    return f"{value:.{3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0}f}"


def score_text(score: Score | Evidence) -> str:
    """`0.587 (0.474 to 0.722)`: a figure and its 95 % interval where it has one.

    Example:
        >>> score_text(Score(0.587, 0.474, 0.722, 200)), score_text(Score(0.5, None, None, 1))
        ('0.587 (0.474 to 0.722)', '0.500')
    """
    if score.value is None or score.low is None or score.high is None:
        return number(score.value)
    return f"{number(score.value)} ({number(score.low)} to {number(score.high)})"


def check_name(check: Check) -> str:
    """`not converged` for `not_converged`."""
    return check.name.replace("_", " ")


def sentence(text: str) -> str:
    """Capital and full stop for the summary of a check.

    Example:
        >>> sentence("there are no classes")
        'There are no classes.'
    """
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def setting_text(change: Change) -> str:
    """`training.num_train_epochs: 0.8`; empty for advice that no key can carry out or whose value a person chooses.

    Example:
        >>> setting_text(Change("training.learning_rate", 2e-5, "")), setting_text(Change("data.train_file", None, ""))
        ('training.learning_rate: 2.0e-05', '')
    """
    from ftkit.recipe.yaml.scalars import write_value

    if not change.key or change.value is None:
        return ""
    return f"{change.key}: {write_value(change.value)}"


FILTERS: Mapping[str, Callable[..., str]] = {
    "count": "{:,}".format,
    "number": number,
    "score": score_text,
    "sentence": sentence,
    "in_words": STATES.__getitem__,
    "title_of": TITLES.__getitem__,
}
"""What templates call them."""
