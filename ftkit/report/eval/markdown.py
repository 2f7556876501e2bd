"""An evaluation as GitHub markdown, with everything that was found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ftkit.diagnosis.report import Report, SuspectRow
from ftkit.diagnosis.verdict import TITLES, Change, Check
from ftkit.report.eval.class_plots import NUMBERED_CLASSES
from ftkit.report.eval.table import (
    STATES,
    class_names,
    commonest_mistakes,
    footnotes,
    headline_text,
    in_state,
    metric_title,
    metrics_of,
    number,
    other_absences,
    printable,
    run_facts,
    score_table,
    score_text,
    sentence,
    setting_text,
)

SHOWN = 100
"""Rows of a list; report.json has the rest."""
TEXT_SHOWN = 300


def report_markdown(report: Report) -> str:
    """The whole report; texts of users stand in it as code, which nothing renders."""
    verdict = report.verdict
    parts = [
        f"# {escaped(headline_text(verdict))}",
        f"**Good for** {escaped(verdict.good_for.removesuffix('.'))}.",
        *_section("What to change", [_change_item(change) for change in verdict.changes]),
        *_section("Scores", _score_parts(report), separate=True),
        *_section("Checks", list(_check_parts(report)), separate=True),
        *_section("Learning curve", _curve(report)),
        *_section("Calibration", _calibration(report)),
        *_section("Confusion on validation", _confusion(report)),
        *_section("Forgetting by document", _forgetting(report)),
        *_section("Worst errors", _rows(report.worst, answer="answered", score="loss")),
        *_section("Suspect rows", _rows(report.suspects, answer="suggested", score="score")),
        *_section("Distance of the weights from the base", _drift(report)),
        *_section("Not measured", [f"- {code(key)}: {escaped(reason)}" for key, reason in other_absences(report)]),
        *_section("Notes", [f"- {escaped(note)}" for note in report.notes]),
        *_section("What was evaluated", [f"- {name}: {code(value)}" for name, value in run_facts(report)]),
        *_section("Words", [f"- **{escaped(term)}**: {escaped(text)}" for term, text in report.words.items()]),
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """A sentence as it is, whatever of it markdown or HTML would take for their own.

    Example:
        >>> print(escaped("a_b <i> 1|2"))
        a\\_b &lt;i&gt; 1\\|2
    """
    flat = " ".join(printable(text).split()).replace("&", "&amp;")
    flat = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", flat)
    return flat.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """A text as code that can stand in a table.

    Example:
        >>> print(code("a | `b`"), code(""))
        `` a \\| `b` `` -
    """
    flat = " ".join(printable(text, limit=TEXT_SHOWN).split())
    # a backslash before the pipe would take the one that keeps the pipe from ending the cell
    flat = flat.replace("\\|", "\\ |").replace("|", "\\|")
    if not flat:
        return "-"
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    space = " " if longest else ""
    return f"{'`' * (longest + 1)}{space}{flat}{space}{'`' * (longest + 1)}"


def _section(title: str, lines: Sequence[str], *, separate: bool = False) -> list[str]:
    return [f"## {title}", ("\n\n" if separate else "\n").join(lines)] if lines else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---"] * len(head)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _cut(total: int, what: str = "rows") -> list[str]:
    return [f"\nThe first {SHOWN:,} of {total:,} {what}; report.json has all of them."] if total > SHOWN else []


def _change_item(change: Change) -> str:
    setting = setting_text(change)
    return f"- {code(setting)}: {escaped(change.why)}" if setting else f"- {escaped(change.why)}"


def _score_parts(report: Report) -> list[str]:
    parts = ["Figures with their 95 % intervals; n is the number of examples."]
    for metric in metrics_of(report):
        table = score_table(report, metric)
        head = [escaped(metric_title(report, metric)), *table.columns]
        parts.append("\n".join(_table(head, [[escaped(name), *map(escaped, cells)] for name, cells in table.rows])))
    notes = [f"- \\[{place}\\] {escaped(note)}" for place, note in enumerate(footnotes(report), start=1)]
    return [*parts, "\n".join(notes)] if notes else parts


def _check_parts(report: Report) -> Iterator[str]:
    for state, words in STATES.items():
        for check in in_state(report.verdict, state):
            yield f"### {TITLES[check.name]} ({words})"
            needs = f" It would take {check.needs}." if check.needs else ""
            yield escaped(f"{sentence(check.summary)}{needs}")
            if check.evidence:
                yield "\n".join(_evidence(check))


def _evidence(check: Check) -> list[str]:
    head = ("evidence", "figure (95 % interval)", "margin", "unit", "n")
    return _table(
        head,
        [
            (
                escaped(one.what),
                score_text(one),
                "-" if one.margin is None else number(one.margin),
                escaped(one.unit) or "-",
                f"{one.n:,}" if one.n else "-",
            )
            for one in check.evidence
        ],
    )


def _curve(report: Report) -> list[str]:
    rows = [
        (
            f"{point.step:,}" + (" (best)" if point.step == report.best_step else ""),
            f"{point.epoch:g}",
            score_text(point.train),
            score_text(point.validation),
        )
        for point in report.curve
    ]
    if not rows:
        return []
    head = ("step", "passes", f"train loss, nats per {report.unit}", "validation loss")
    every = -(-len(rows) // SHOWN)
    cut = [f"\nOne in {every} of {len(rows):,} evaluations; report.json has all of them."] if every > 1 else []
    return _table(head, rows[::every]) + cut


def _calibration(report: Report) -> list[str]:
    if not report.calibration:
        return []
    rows = [(number(one.confidence), number(one.accuracy), f"{one.n:,}") for one in report.calibration]
    error = [] if report.ece is None else [f"Expected calibration error: {score_text(report.ece)}.\n"]
    return [*error, *_table(("mean confidence", "share right", "rows"), rows)]


def _confusion(report: Report) -> list[str]:
    if not report.confusion:
        return []
    names = [code(name) for name in class_names(report)]
    if len(report.confusion) <= NUMBERED_CLASSES:
        rows = [[names[place], *map(str, row)] for place, row in enumerate(report.confusion)]
        return _table(["expected \\ predicted", *names], rows)
    rows = [[code(given), code(answer), f"{count:,}"] for given, answer, count in commonest_mistakes(report)]
    return ["The commonest mistakes:\n", *_table(["expected", "predicted", "rows"], rows)]


def _forgetting(report: Report) -> list[str]:
    documents = report.forgetting[:SHOWN]
    if not documents:
        return []
    head = ("document", "base, nats per token", "kept model", "rise")
    rows = [(code(one.text), number(one.base), number(one.tuned), number(one.tuned - one.base)) for one in documents]
    return _table(head, rows) + _cut(len(report.forgetting), "documents")


def _rows(rows: Sequence[SuspectRow], *, answer: str, score: str) -> list[str]:
    if not rows:
        return []
    head = ["row", "text", "given", answer, score, "why"]
    cells = [
        [f"{row.split} {row.row:,}", code(row.text), code(row.given), code(row.suggested), number(row.score),
         escaped(row.why) or "-"]
        for row in rows[:SHOWN]
    ]  # fmt: skip
    if not any(row.why for row in rows):
        head, cells = head[:-1], [row[:-1] for row in cells]
    return _table(head, cells) + _cut(len(rows))


def _drift(report: Report) -> list[str]:
    if not report.drift:
        return []
    return _table(
        ("layers", "relative distance"), [(code(name), number(value)) for name, value in report.drift.items()]
    )
