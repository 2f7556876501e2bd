"""An evaluation on one screen of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ftkit.diagnosis.report import Report
from ftkit.diagnosis.verdict import TITLES, State
from ftkit.report.eval.view import ScoreTable, View, view_of
from ftkit.report.eval.wording import STATES, check_name
from ftkit.report.safe import printable
from ftkit.report.tables import LINE_WIDTH, hanging, table_lines, widest

STATE_WIDTH = 18
"""Columns for the state of a check."""
METRICS_SHOWN = 2
"""Metrics that the table has room for: the loss and the first of the task."""
GAP = 2
"""Spaces between columns."""


def report_lines(report: Report, *, width: int = LINE_WIDTH) -> Iterator[str]:
    """The verdict, the scores, the checks and what to change, in lines of at most `width` characters, 40 or more."""
    if width < 40:
        raise ValueError(f"a report needs lines of at least 40 characters, not {width}")
    for line in _lines(report, view_of(report), width):
        # texts may hold words that no line can take whole
        yield from [line] if len(line) <= width else textwrap.wrap(line, width, subsequent_indent="  ")


def _lines(report: Report, view: View, width: int) -> Iterator[str]:
    for said in (view.headline, f"Good for: {report.verdict.good_for}", _about(report)):
        yield from _wrapped(said, width, indent=2)
    yield ""
    yield f"Scores with 95 % intervals; {view.tables[0].title.replace(',', ' in')}"
    own = [table for table in view.tables[METRICS_SHOWN:] if table.metric in report.own_metrics]
    yield from _table_lines([*view.tables[:METRICS_SHOWN], *own], width)
    for table in view.by_source:
        yield table.title
        yield from _table_lines([table], width)
    for place, note in enumerate(view.footnotes, start=1):
        yield from _wrapped(f"  [{place}] {note}", width, indent=6)
    yield ""
    yield "Checks"
    yield from _check_lines(report, view, width)
    if view.changes:
        yield ""
        yield "What to change"
        yield from _change_lines(view.changes, width)
    if rest := _rest(report):
        yield ""
        yield from _wrapped(rest, width, indent=2)


def _about(report: Report) -> str:
    best = "" if report.best_step is None else f", best at step {report.best_step:,}"
    steps = "" if report.last_step is None else f" of {report.last_step:,}" if best else f", {report.last_step:,} steps"
    kept = f"kept: {report.kept}" + (f", judged: {report.judged}" if report.judged else "")
    return (
        f"Run: {report.run} ({report.task}, {report.method}, on {report.base}{best}{steps}, {kept}; "
        f"{report.effort}, {report.seconds:.0f} s)"
    )


def _table_lines(tables: Sequence[ScoreTable], width: int) -> Iterator[str]:
    """The metrics beneath one another, in as many blocks of columns as the width asks for."""
    grids = [
        [[table.metric, *table.columns], *([f"  {name}", *cells] for name, cells in table.rows)] for table in tables
    ]
    widths = widest(row for rows in grids for row in rows)
    for rows in grids:
        for block in _blocks(widths, width=width):
            shown = [[row[place] for place in block] for row in rows]
            yield from table_lines(shown, widths=[widths[place] for place in block], gap=GAP)


def _blocks(widths: Sequence[int], *, width: int) -> list[list[int]]:
    """Columns that stand side by side; the first one, which names the rows, in every block."""
    blocks = [[0]]
    for place, wide in enumerate(widths[1:], start=1):
        taken = sum(GAP + widths[other] for other in blocks[-1])
        if blocks[-1] != [0] and taken + wide > width:
            blocks.append([0])
        blocks[-1].append(place)
    return blocks


def _check_lines(report: Report, view: View, width: int) -> Iterator[str]:
    for check in view.checks["fired"]:
        # the headline may be this sentence already
        is_headline = check.summary.lower() == report.verdict.sentence.lower()
        said = "see the first line" if is_headline else check.summary
        yield from _state_lines("fired", f"{TITLES[check.name]}: {said}", width)
    for check in view.checks["cannot_tell"]:
        wanted = f"; it would take {check.needs}" if check.needs else ""
        yield from _state_lines("cannot_tell", f"{check_name(check)}: {check.summary}{wanted}", width)
    if clear := view.checks["clear"]:
        yield from _state_lines("clear", ", ".join(map(check_name, clear)), width)
    if idle := view.checks["not_applicable"]:
        reasons = "; ".join(f"{check_name(check)} ({check.summary})" for check in idle)
        yield from _state_lines("not_applicable", reasons, width)


def _state_lines(state: State, text: str, width: int) -> list[str]:
    name = STATES[state].upper() if state == "fired" else STATES[state]
    return _wrapped(f"  {name:<{STATE_WIDTH - 2}}{text}", width, indent=STATE_WIDTH)


def _change_lines(changes: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    label = min(max(len(setting) for setting, _ in changes), width // 2) + 4
    for setting, why in changes:
        if not setting:
            yield from _wrapped(f"  {why}", width, indent=4)
        elif len(setting) + 4 > label:
            yield f"  {setting}"
            yield from _wrapped(f"      {why}", width, indent=6)
        else:
            yield from _wrapped(f"  {setting:<{label - 2}}{why}", width, indent=label)


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
