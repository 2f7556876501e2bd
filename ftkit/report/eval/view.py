"""What every form of an evaluation report shows, from the same values: a terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ftkit.diagnosis.measurements import MODELS, SETS
from ftkit.diagnosis.report import Report
from ftkit.diagnosis.verdict import TITLES, Check, State
from ftkit.report.eval.wording import STATES, score_text, setting_text

ABSENT = "-"
NUMBERED_CLASSES = 15
"""Confusion matrices of more classes are told by their mistakes."""
MISTAKES = 20


@dataclass(frozen=True)
class ScoreTable:
    """One metric of all models on all sets, as text.

    Attributes:
        title: the metric with its unit.
        columns: SETS with the examples that were scored.
        rows: model or baseline, and a cell for each of SETS: ABSENT where it has none, with the number of the reason.
    """

    metric: str
    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class View:
    """A report as it is shown; the rest of it is shown as it is.

    Attributes:
        changes: a line of a recipe, or nothing where a person has to choose, and why.
        tables: the loss first.
        by_source: the loss of the base and of the kept model on the rows of each source; none where there is one.
        footnotes: `final/test: why`, by their numbers in the cells of the tables, from 1.
        checks: of each state, in the order in which they are shown.
        shows_matrix: whether the confusion matrix is small enough to be read.
        mistakes: (expected, predicted, rows), the commonest first, where there are too many classes for a matrix.
        facts: what was evaluated, and how, by name.
        absences: what was not measured besides cells of the tables, each with its reason.
    """

    title: str
    headline: str
    changes: Sequence[tuple[str, str]]
    tables: Sequence[ScoreTable]
    by_source: Sequence[ScoreTable]
    footnotes: Sequence[str]
    checks: Mapping[State, Sequence[Check]]
    class_names: Sequence[str]
    shows_matrix: bool
    mistakes: Sequence[tuple[str, str, int]]
    facts: Sequence[tuple[str, str]]
    absences: Sequence[tuple[str, str]]


def view_of(report: Report) -> View:
    """What is shown of a report."""
    verdict, reasons = report.verdict, _reasons(report)
    told = {key for keys in reasons.values() for key in keys}
    return View(
        title=TITLES[verdict.headline],
        headline=f"{TITLES[verdict.headline]}: {verdict.sentence}",
        changes=[(setting_text(change), change.why) for change in verdict.changes],
        tables=[_score_table(report, metric, list(reasons)) for metric in _metrics_of(report)],
        by_source=[_table_by_source(report)] if report.by_source else [],
        footnotes=[f"{', '.join(keys)}: {reason}" for reason, keys in reasons.items()],
        checks={state: [one for one in verdict.checks if one.state == state] for state in STATES},
        class_names=class_names(report),
        shows_matrix=len(report.confusion) <= NUMBERED_CLASSES,
        mistakes=_mistakes(report) if len(report.confusion) > NUMBERED_CLASSES else [],
        facts=list(_facts(report)),
        absences=[(name, reason) for name, reason in report.absent.items() if name not in told],
    )


def class_names(report: Report) -> list[str]:
    """A name for every row of the confusion matrix; its number where the report has none."""
    unnamed = range(len(report.label_names), len(report.confusion))
    return [*report.label_names, *(str(place) for place in unnamed)]


def _metrics_of(report: Report) -> list[str]:
    found = (metric for sets in report.table.values() for scores in sets.values() for metric in scores)
    return list(dict.fromkeys(["loss", *found]))


def _score_table(report: Report, metric: str, reasons: Sequence[str]) -> ScoreTable:
    def cell(name: str, which: str) -> str:
        score = report.table.get(name, {}).get(which, {}).get(metric)
        if score is not None:
            return score_text(score)
        reason = report.absent.get(_key(report, name, which), "")
        return f"{ABSENT} [{reasons.index(reason) + 1}]" if reason in reasons else ABSENT

    title = f"loss, nats per {report.unit}" if metric == "loss" else metric.replace("_", " ")
    columns = [f"{which}, n {report.rows[which]:,}" if which in report.rows else which for which in SETS]
    return ScoreTable(
        metric, title, columns, [(name, [cell(name, which) for which in SETS]) for name in _models(report)]
    )


def _table_by_source(report: Report) -> ScoreTable:
    def cell(source: str, model: str, which: str) -> str:
        score = report.by_source[source].get(model, {}).get(which, {}).get("loss")
        return ABSENT if score is None else f"{score_text(score)}, n {score.n:,}"

    rows = [
        (f"{source}, {model}", [cell(source, model, which) for which in SETS])
        for source, models in report.by_source.items()
        for model in ("base", report.kept)
        if model in models
    ]
    return ScoreTable("by source", f"loss by source, nats per {report.unit}", list(SETS), rows)


def _models(report: Report) -> list[str]:
    return list(dict.fromkeys([*MODELS, *report.table]))


def _reasons(report: Report) -> dict[str, list[str]]:
    """Reason -> the keys of `absent` that give it to cells without a score."""
    found: dict[str, list[str]] = {}
    for name in _models(report):
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


def _mistakes(report: Report) -> list[tuple[str, str, int]]:
    names = class_names(report)
    found = [
        (names[expected], names[predicted], count)
        for expected, row in enumerate(report.confusion)
        for predicted, count in enumerate(row)
        if count and expected != predicted
    ]
    return sorted(found, key=lambda one: -one[2])[:MISTAKES]


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    steps = "unknown" if report.last_step is None else f"{report.last_step:,}"
    for name in ("run", "task", "method", "base"):
        yield name, getattr(report, name)
    yield "best", "unknown" if report.best_step is None else f"step {report.best_step:,} of {steps}"
    yield "kept", report.kept
    yield "scored", ", ".join(f"{count:,} {name}" for name, count in report.rows.items()) or "nothing"
    yield "effort", f"{report.effort}, {report.seconds:.0f} s"
    yield "created", report.created
