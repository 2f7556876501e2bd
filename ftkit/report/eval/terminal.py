"""An evaluation on one screen of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ftkit.diagnosis.report import Report
from ftkit.diagnosis.verdict import TITLES, Check, State, Verdict
from ftkit.report.eval.table import (
    STATES,
    ScoreTable,
    check_name,
    footnotes,
    headline_text,
    in_state,
    metric_title,
    metrics_of,
    printable,
    score_table,
    setting_text,
)
from ftkit.report.tables import hanging, table_lines, widest

WIDTH = 110
NAME = 18
"""Columns for the state of a check."""
METRICS = 2
"""Metrics that the table has room for: the loss and the first of the task."""
GAP = 2


def report_lines(report: Report, *, width: int = WIDTH) -> Iterator[str]:
    """The verdict, the scores, the checks and what to change, as plain text.

    Args:
        report: of an evaluation.
        width: characters that no line exceeds, at least 40.

    Yields:
        Lines without their ends.
    """
    if width < 40:
        raise ValueError(f"a report needs lines of at least 40 characters, not {width}")
    for line in _lines(report, width):
        # texts may hold words that no line can take whole
        yield from [line] if len(line) <= width else textwrap.wrap(line, width, subsequent_indent="  ")


def verdict_line(verdict: Verdict) -> str:
    """The diagnosis on one line: the headline, what else fired, and what to change first.

    Example:
        >>> verdict_line(Verdict("healthy", "No check fired", "data like these", (), ()))
        'Healthy: No check fired'
    """
    others = [check_name(name) for name in verdict.fired if name != verdict.headline]
    also = f"; also fired: {', '.join(others)}" if others else ""
    settings = [setting_text(change) for change in verdict.changes if change.value is not None and change.key]
    change = f"; change {settings[0]}" if settings else ""
    return printable(" ".join(f"{headline_text(verdict)}{also}{change}".split()))


def _lines(report: Report, width: int) -> Iterator[str]:
    yield from _wrapped(headline_text(report.verdict), width, indent=2)
    yield from _wrapped(f"Good for: {report.verdict.good_for}", width, indent=2)
    yield from _wrapped(_about(report), width, indent=2)
    yield ""
    yield f"Scores with 95 % intervals; {metric_title(report, 'loss').replace(',', ' in')}"
    yield from _table_lines([score_table(report, metric) for metric in metrics_of(report)[:METRICS]], width)
    for place, note in enumerate(footnotes(report), start=1):
        yield from _wrapped(f"  [{place}] {note}", width, indent=6)
    yield ""
    yield "Checks"
    yield from _check_lines(report.verdict, width)
    if report.verdict.changes:
        yield ""
        yield "What to change"
        yield from _change_lines(report.verdict, width)
    if rest := _rest(report):
        yield ""
        yield from _wrapped(rest, width, indent=2)


def _about(report: Report) -> str:
    best = "" if report.best_step is None else f", best at step {report.best_step:,}"
    steps = "" if report.last_step is None else f" of {report.last_step:,}"
    return (
        f"Run: {report.run} ({report.task}, {report.method}, on {report.base}{best}{steps}, kept: {report.kept}; "
        f"{report.effort}, {report.seconds:.0f} s)"
    )


def _table_lines(tables: Sequence[ScoreTable], width: int) -> Iterator[str]:
    """The metrics beneath one another, in as many blocks of columns as the width asks for."""
    heads = ([table.metric, *table.columns] for table in tables)
    label, *widths = widest([*heads, *([f"  {name}", *cells] for table in tables for name, cells in table.rows)])
    for table in tables:
        for block in _blocks(widths, room=width - label):
            rows = [(table.metric, table.columns), *((f"  {name}", cells) for name, cells in table.rows)]
            yield from table_lines(
                [[name, *(cells[place] for place in block)] for name, cells in rows],
                widths=[label, *(widths[place] for place in block)],
                gap=GAP,
            )


def _blocks(widths: Sequence[int], *, room: int) -> list[list[int]]:
    """Columns that stand side by side."""
    blocks: list[list[int]] = [[]]
    for place, wide in enumerate(widths):
        taken = sum(GAP + widths[other] for other in blocks[-1])
        if blocks[-1] and taken + GAP + wide > room:
            blocks.append([])
        blocks[-1].append(place)
    return blocks


def _check_lines(verdict: Verdict, width: int) -> Iterator[str]:
    for check in in_state(verdict, "fired"):
        yield from _state_lines("fired", f"{TITLES[check.name]}: {_fired(check, verdict)}", width)
    for check in in_state(verdict, "cannot_tell"):
        wanted = f"; it would take {check.needs}" if check.needs else ""
        yield from _state_lines("cannot_tell", f"{check_name(check.name)}: {check.summary}{wanted}", width)
    if clear := in_state(verdict, "clear"):
        yield from _state_lines("clear", ", ".join(check_name(check.name) for check in clear), width)
    if idle := in_state(verdict, "not_applicable"):
        reasons = "; ".join(f"{check_name(check.name)} ({check.summary})" for check in idle)
        yield from _state_lines("not_applicable", reasons, width)


def _fired(check: Check, verdict: Verdict) -> str:
    # the headline is this sentence already
    return "see the first line" if check.summary.lower() == verdict.sentence.lower() else check.summary


def _state_lines(state: State, text: str, width: int) -> list[str]:
    name = STATES[state].upper() if state == "fired" else STATES[state]
    return _wrapped(f"  {name:<{NAME - 2}}{text}", width, indent=NAME)


def _change_lines(verdict: Verdict, width: int) -> Iterator[str]:
    settings = [setting_text(change) for change in verdict.changes]
    label = min(max(map(len, settings)), width // 2) + 4
    for change, setting in zip(verdict.changes, settings, strict=True):
        if setting and len(setting) + 4 > label:
            yield f"  {setting}"
            yield from _wrapped(f"      {change.why}", width, indent=6)
        elif setting:
            yield from _wrapped(f"  {setting:<{label - 2}}{change.why}", width, indent=label)
        else:
            yield from _wrapped(f"  {change.why}", width, indent=4)


def _rest(report: Report) -> str:
    found = {"worst error": len(report.worst), "suspect row": len(report.suspects), "note": len(report.notes)}
    words = [f"{count:,} {name}{'' if count == 1 else 's'}" for name, count in found.items() if count]
    if not words:
        return ""
    listed = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return f"The full report lists {listed}."


def _wrapped(text: str, width: int, *, indent: int) -> list[str]:
    # the gaps between columns are kept, line breaks of user texts are not
    flat = printable(text).replace("\n", " ").replace("\t", " ")
    return hanging(flat, width=width, indent=indent)
