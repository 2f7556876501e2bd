"""The only place where the benchmark touches what it judges: a run in, a headline out, and the advised recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.commands import eval as judging


@dataclass(frozen=True)
class Judged:
    """What the evaluation said.

    Attributes:
        headline: of the verdict.
        fired: names of the checks that fired.
        states: check -> state.
        summaries: check -> summary, of those that fired or could not tell.
        keys: recipe keys that the advice of the verdict changes; None values need a person and do not count.
        for_people: checks that fired and whose advice is, in part at least, nothing that a key does.
        report: whole.
    """

    headline: str
    fired: tuple[str, ...]
    states: dict[str, str]
    summaries: dict[str, str]
    keys: list[str]
    for_people: tuple[str, ...]
    report: Any


def can_judge() -> bool:
    """Whether this ftkit evaluates runs; without it the plantings can be checked still."""
    return hasattr(judging, "evaluate")


def judge(run: Path, *, effort: str) -> Judged:
    """Evaluate a run."""
    report = judging.evaluate(run, effort=effort)  # type: ignore[attr-defined]
    verdict = report.verdict
    told = [check for check in verdict.checks if check.state in {"fired", "cannot_tell"}]
    return Judged(
        verdict.headline,
        tuple(verdict.fired),
        {check.name: check.state for check in verdict.checks},
        {check.name: check.summary for check in told},
        [change.key for change in verdict.changes if change.key and change.value is not None],
        tuple(check.name for check in verdict.checks if any(change.value is None for change in check.changes)),
        report,
    )


def advised_recipe(run: Path, judged: Judged) -> str:
    """The recipe of a run with the advice applied, as YAML."""
    text: str = judging.advised_recipe(run, judged.report)  # type: ignore[attr-defined]
    return text
