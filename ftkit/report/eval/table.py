"""What every form of an evaluation report shows alike: figures as text, the table of scores, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftkit.diagnosis.report import Report, Score
from ftkit.diagnosis.verdict import TITLES, Change, Check, Evidence, State, Verdict

MODELS = ("base", "best", "final")
SETS = ("train", "validation", "test", "reference")
STATES: Mapping[State, str] = {
    "fired": "fired",
    "cannot_tell": "cannot tell",
    "clear": "clear",
    "not_applicable": "does not apply",
}
"""States of a check in print, in the order in which they are shown."""
ABSENT = "-"


@dataclass(frozen=True)
class ScoreTable:
    """One metric of all models on all sets, as text.

    Attributes:
        metric: its name.
        columns: SETS with the examples that were scored.
        rows: model or baseline, and a cell for each of SETS.
    """

    metric: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


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


def metrics_of(report: Report) -> list[str]:
    """Names of the metrics in the table, the loss first."""
    found = (metric for sets in report.table.values() for scores in sets.values() for metric in scores)
    return list(dict.fromkeys(["loss", *found]))


def metric_title(report: Report, metric: str) -> str:
    """A metric with its unit."""
    return f"loss, nats per {report.unit}" if metric == "loss" else metric.replace("_", " ")


def score_table(report: Report, metric: str) -> ScoreTable:
    """Cells of one metric; a missing one is ABSENT with the number of its reason in `footnotes`."""
    names = [*MODELS, *(name for name in report.table if name not in MODELS)]
    numbers = {reason: place for place, reason in enumerate(_reasons(report), start=1)}

    def cell(name: str, which: str) -> str:
        score = report.table.get(name, {}).get(which, {}).get(metric)
        if score is not None:
            return score_text(score)
        place = numbers.get(report.absent.get(_key(report, name, which), ""))
        return ABSENT if place is None else f"{ABSENT} [{place}]"

    columns = [f"{which}, n {report.rows[which]:,}" if which in report.rows else which for which in SETS]
    return ScoreTable(metric, columns, [(name, [cell(name, which) for which in SETS]) for name in names])


def footnotes(report: Report) -> list[str]:
    """`final/test: why`, in the order of their numbers in `score_table`, which begin at 1."""
    return [f"{', '.join(keys)}: {reason}" for reason, keys in _reasons(report).items()]


def _reasons(report: Report) -> dict[str, list[str]]:
    """Reason -> the keys of `absent` that give it to cells without a score."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys([*MODELS, *report.table]):
        for which in SETS:
            key = _key(report, name, which)
            if key and not report.table.get(name, {}).get(which):
                keys = found.setdefault(report.absent[key], [])
                keys += [] if key in keys else [key]
    return found


def _key(report: Report, name: str, which: str) -> str:
    # a baseline owes no figure to every set; a model does
    keys = (f"{name}/{which}", which, name) if name in MODELS else (f"{name}/{which}",)
    return next((key for key in keys if report.absent.get(key)), "")


def other_absences(report: Report) -> list[tuple[str, str]]:
    """What was not measured besides cells of the table, each with its reason."""
    told = {key for keys in _reasons(report).values() for key in keys}
    return [(name, reason) for name, reason in report.absent.items() if name not in told]


def in_state(verdict: Verdict, state: State) -> list[Check]:
    """Checks of one state, in their order."""
    return [check for check in verdict.checks if check.state == state]


def check_name(name: str) -> str:
    """`not_converged` as `not converged`."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """Capital and full stop for the summary of a check.

    Example:
        >>> sentence("there are no classes")
        'There are no classes.'
    """
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def headline_text(verdict: Verdict) -> str:
    """`Overfit: the validation loss has risen ...`."""
    return f"{TITLES[verdict.headline]}: {verdict.sentence}"


def setting_text(change: Change) -> str:
    """`training.num_train_epochs: 0.8`; empty for advice that no key can carry out or whose value a person chooses.

    Example:
        >>> setting_text(Change("training.learning_rate", 2e-5, "")), setting_text(Change("data.train_file", None, ""))
        ('training.learning_rate: 2.0e-05', '')
    """
    from ftkit.recipe.dump import write_value

    if not change.key or change.value is None:
        return ""
    return f"{change.key}: {write_value(change.value)}"


def run_facts(report: Report) -> list[tuple[str, str]]:
    """What was evaluated, and how, by name."""
    steps = "unknown" if report.last_step is None else f"{report.last_step:,}"
    best = "unknown" if report.best_step is None else f"step {report.best_step:,} of {steps}"
    return [
        ("run", report.run),
        ("task", report.task),
        ("method", report.method),
        ("base", report.base),
        ("best", best),
        ("kept", report.kept),
        ("scored", ", ".join(f"{count:,} {name}" for name, count in report.rows.items()) or "nothing"),
        ("effort", f"{report.effort}, {report.seconds:.0f} s"),
        ("created", report.created),
    ]


def printable(text: str, *, limit: int | None = None) -> str:
    """A user's text without what no document may hold (control characters, lone surrogates), cut with ` ...`.

    Example:
        >>> printable("a\\x00b" + "c" * 9, limit=5)
        'a\ufffdbcc ...'
    """
    legal = "".join(
        char if char in "\t\n" or (ord(char) >= 32 and not 0x7F <= ord(char) < 0xA0 and not _unsafe(char)) else "\ufffd"
        for char in (text if limit is None else text[: limit + 1])
    )
    return legal if limit is None or len(legal) <= limit else legal[:limit] + " ..."


def _unsafe(char: str) -> bool:
    return 0xD800 <= ord(char) <= 0xDFFF or char in "\ufffe\uffff"


def class_names(report: Report) -> list[str]:
    """A name for every row of the confusion matrix; its number where the report has none."""
    unnamed = range(len(report.label_names), len(report.confusion))
    return [*report.label_names, *(str(place) for place in unnamed)]


def commonest_mistakes(report: Report, *, most: int = 20) -> list[tuple[str, str, int]]:
    """(expected label, predicted label, rows), the most frequent first."""
    names = class_names(report)
    found = [
        (names[expected], names[predicted], count)
        for expected, row in enumerate(report.confusion)
        for predicted, count in enumerate(row)
        if count and expected != predicted
    ]
    return sorted(found, key=lambda one: -one[2])[:most]
