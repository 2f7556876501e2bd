"""Runs held against one another: the values, and the lines of them for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

from ftkit.report.tables import LINE_WIDTH, hanging, table_lines
from ftkit.report.terminal import decimals

COMPARISON_VERSION = 1
"""Of the JSON. It grows by one when a key changes its meaning or goes; new keys may come without that."""
LABEL, CELL = 22, 20
WIDEST_NUMBER = 1e4
"""Larger figures would not fit a cell with their decimals."""
COUNTS = {"trained parameters": "trained_parameters", "steps": "num_steps", "best step": "best_step"}
LOWER_IS_BETTER = frozenset({"loss", "bits_per_byte", "edit_distance"})


@dataclass(frozen=True)
class Column:
    """One run.

    Attributes:
        letter: A, B, ... in the order in which the runs were named.
        state: of the run; `finished` where it came to its end.
        verdict: title of the diagnosis, or how to get one.
        headline: of the diagnosis, one of `ftkit.diagnosis.verdict.HEADLINES`; None without one.
        task: of the recipe; None where that cannot be read.
        metrics: split -> metric -> entry, as in metrics.json, without the base's.
        seconds: from start to finish, pauses before a --resume included; None for a run that has not finished.
        model_bytes: size of model/ on the disk; None where there is none.
    """

    letter: str
    path: str
    state: str
    verdict: str
    headline: str | None
    sentence: str
    task: str | None
    method: str | None
    base: str | None
    metrics: Mapping[str, Mapping[str, Any]]
    seconds: float | None
    trained_parameters: int | None
    num_steps: int | None
    best_step: int | None
    model_bytes: int | None


@dataclass(frozen=True)
class Difference:
    """One metric of a run less that of the baseline, on the same rows.

    Attributes:
        value: run minus baseline.
        low: lower end of the paired 95 % interval; None where there are too few rows.
        p: two-sided probability of a difference this large between equal models, before Holm's correction.
        higher_is_better: which sign is good.
        real: p passes Holm's correction over all comparisons of the split, and the interval leaves zero out.
        better: letter of the better run where the difference is real, else None.
        only_run: rows that only the run got right (accuracy), else None.
        only_against: rows that only the baseline got right.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    p: float
    higher_is_better: bool
    real: bool = False
    better: str | None = None
    only_run: int | None = None
    only_against: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Match:
    """A run against the baseline on one split.

    Attributes:
        run, against: letters of the run and of the baseline.
        matched: `data`: both saw the same rows; `text`: rows with the same text and target were found; empty where
            nothing was compared.
        num_rows: rows of the run and of the baseline.
        refused: why nothing was compared; empty where it was.
        notes: what was left out, one sentence each.
        differences: by metric.
    """

    split: str
    run: str
    against: str
    matched: str = ""
    num_paired: int = 0
    num_rows: tuple[int, int] = (0, 0)
    refused: str = ""
    notes: Sequence[str] = ()
    differences: Sequence[Difference] = ()


@dataclass(frozen=True)
class Comparison:
    """What `ftkit compare` found.

    Attributes:
        against: letter of the baseline.
        level: chance at most that any difference of a split is called real though there is none.
        num_resamples: behind each interval and each p.
        recipe: dotted key -> letter -> value, of the keys that differ; a run that does not read the key lacks it.
        matches: every other run against the baseline, split by split.
        notes: what to know of all of it, one sentence each.
    """

    against: str
    level: float
    num_resamples: int
    runs: Sequence[Column]
    recipe: Mapping[str, Mapping[str, Any]]
    matches: Sequence[Match]
    notes: Sequence[str] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """As it is printed by --json."""
        words_of_version_1 = {"matches": "pairs"}
        found = {words_of_version_1.get(name, name): value for name, value in asdict(self).items()}
        return {"version": COMPARISON_VERSION, **found}


def comparison_lines(comparison: Comparison, *, width: int = LINE_WIDTH) -> Iterator[str]:
    """The table, the differences with what they are worth, and the notes; no line is longer than `width`."""
    abreast = max(1, (width - 2 - LABEL) // (CELL + 1))
    for run in comparison.runs:
        baseline = " (baseline)" if run.letter == comparison.against else ""
        yield from hanging(f"{run.letter} = {run.path}{baseline}", indent=4, width=width)
    for first in range(0, len(comparison.runs), abreast):
        yield ""
        yield from _table(comparison, comparison.runs[first : first + abreast])
    for split in dict.fromkeys(match.split for match in comparison.matches):
        yield ""
        yield from _split_lines(comparison, split, width=width)
    if comparison.notes:
        yield ""
    for note in comparison.notes:
        yield from hanging(f"note: {note}", indent=6, width=width)


def difference_words(difference: Difference, *, run: str, against: str) -> str:
    """What a difference is worth, in words.

    Example:
        >>> found = Difference("loss", -0.2, -0.3, -0.1, 100, 0.001, False, real=True, better="B")
        >>> difference_words(found, run="B", against="A")
        'real: B is better by 0.200 (95 % 0.100 to 0.300)'
    """
    if difference.low is None or difference.high is None:
        return f"cannot tell: {run} minus {against} is {_signed(difference.value)}, {difference.note}"
    bounds = difference.low, difference.high
    if not difference.real:
        span = f"between {_signed(bounds[0])} and {_signed(bounds[1])} ({run} minus {against})"
        if bounds[0] <= 0 <= bounds[1]:
            return f"no real difference: {span}"
        return f"cannot tell among so many comparisons (Holm's correction): {span}"
    low, high = sorted(map(abs, bounds))
    size = f"{_signed(abs(difference.value))} (95 % {_signed(low)} to {_signed(high)})"
    return f"real: {difference.better} is better by {size}"


def _split_lines(comparison: Comparison, split: str, *, width: int) -> Iterator[str]:
    matches = [match for match in comparison.matches if match.split == split]
    num_tests = sum(len(match.differences) for match in matches)
    tests = f"{num_tests} comparison{'' if num_tests == 1 else 's'}"
    corrected = f", {tests} on the same rows, Holm's level {100 * comparison.level:.0f} % in all"
    yield from hanging(split + (corrected if num_tests else ""), indent=2, width=width)
    for match in matches:
        yield from _match_lines(match, width=width)


def _match_lines(match: Match, *, width: int) -> Iterator[str]:
    title = f"  {match.run} against {match.against}"
    if match.refused:
        yield from hanging(f"{title}: not compared: {match.refused}", indent=4, width=width)
        return
    ours, theirs = match.num_rows
    how = "the same data" if match.matched == "data" else f"matched by text, of {ours:,} and {theirs:,}"
    yield from hanging(f"{title}, {match.num_paired:,} rows ({how})", indent=4, width=width)
    for one in match.differences:
        words = difference_words(one, run=match.run, against=match.against)
        if one.only_run is not None:
            words += f"; right in {match.run} alone {one.only_run:,}, in {match.against} alone {one.only_against:,}"
        if one.n != match.num_paired:
            words += f"; {one.n:,} rows"
        if one.note and one.low is not None:
            words += f"; {one.note}"
        yield from hanging(f"    {one.metric:<14}{words}", indent=18, width=width)
    for note in match.notes:
        yield from hanging(f"    note: {note}", indent=10, width=width)


def _table(comparison: Comparison, runs: Sequence[Column]) -> Iterator[str]:
    yield from _row("", [run.letter for run in runs])
    if any(run.state != "finished" for run in comparison.runs):
        yield from _row("state", [run.state for run in runs])
    yield from _row("verdict", [run.verdict for run in runs])
    for name in ("task", "method", "base"):
        yield from _row(name, [getattr(run, name) or "unknown" for run in runs])
    if comparison.recipe:
        yield "recipe, where it differs"
    for key, values in comparison.recipe.items():
        yield from _row(key, [_value(values[run.letter]) if run.letter in values else "-" for run in runs])
    yield from _metric_rows(comparison, runs)
    yield "cost"
    yield from _row("wall time", ["-" if run.seconds is None else _duration(run.seconds) for run in runs])
    for name, key in COUNTS.items():
        counts = (getattr(run, key) for run in runs)
        yield from _row(name, ["-" if count is None else f"{count:,}" for count in counts])
    yield from _row("model on disk", ["-" if run.model_bytes is None else _size(run.model_bytes) for run in runs])


def _metric_rows(comparison: Comparison, runs: Sequence[Column]) -> Iterator[str]:
    (baseline,) = (run for run in comparison.runs if run.letter == comparison.against)
    alike = [run for run in comparison.runs if run.task == baseline.task]
    for split in ("test", "validation"):
        names = dict.fromkeys(name for run in alike for name in run.metrics.get(split, {}) if name != "confusion")
        if names:
            yield f"{split}, with 95 % intervals"
        for name in names:
            cells = [run.metrics.get(split, {}).get(name) if run in alike else None for run in runs]
            yield from _row(name, [_score(cell) for cell in cells])


def _row(label: str, cells: Sequence[str]) -> Iterator[str]:
    """One row of the table, as many lines as its fullest cell takes; a label that is too long stands above it."""
    if len(label) > LABEL:
        yield f"  {label}"
        label = ""
    folded = ([part for line in cell.split("\n") for part in textwrap.wrap(line, CELL) or [""]] for cell in cells)
    yield from table_lines(zip_longest([label], *folded, fillvalue=""), widths=(LABEL, CELL), gap=1, indent=2)


def _score(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "-"
    if not isinstance(entry.get("value"), int | float):
        return "undefined"
    ends = [entry[key] for key in ("low", "high") if entry.get(key) is not None]
    value, *bounds = (decimals(one, most=WIDEST_NUMBER) for one in (entry["value"], *ends))
    return f"{value}\n{bounds[0]} to {bounds[1]}" if len(bounds) == 2 else value


def _signed(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.1e}"


def _value(value: Any) -> str:
    from ftkit.recipe.yaml.scalars import write_value

    text = write_value(value)
    # the end of a path tells more than its middle
    return text if len(text) <= 3 * CELL else f"{text[:CELL]}...{text[3 - 2 * CELL :]}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 120 else f"{hours:.1f} h"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"
