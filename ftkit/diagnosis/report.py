"""The report of an evaluation: everything that is shown, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ftkit.diagnosis.verdict import TITLES, Verdict
from ftkit.notebook import as_html

REPORT_VERSION = 1
"""Of report.json. It grows by one when a key changes its meaning or goes; new keys may come without that."""
TEXT_KEPT = 300
"""Characters that a report keeps of a text."""


@dataclass(frozen=True)
class Score:
    """A figure of the table: one metric of one model on one set, its 95 % interval, and the examples behind it."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Point:
    """One evaluation of the learning curve: the losses on the two probes."""

    step: int
    epoch: float
    train: Score
    validation: Score


@dataclass(frozen=True)
class Bin:
    """One bin of the reliability diagram: mean confidence of its n rows, and the share of them that were right."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class SuspectRow:
    """A row worth a look.

    Attributes:
        row: its number in the split, from 0.
        given: label or target that the data give.
        suggested: what the evidence points to: another label, the training row that it repeats, the model's answer.
        score: how strongly, 0 to 1, or a loss in nats.
        place: `line 12`, where it was read, as error messages count; empty where that is not known.
    """

    split: str
    row: int
    text: str
    given: str
    suggested: str
    score: float
    why: str
    place: str = ""


@dataclass(frozen=True)
class DocumentLoss:
    """Loss of one reference document before and after.

    Attributes:
        base: nats a token of the base; `tuned`, of the kept model.
        tokens: the pieces of it with the rise of their loss in nats, where they were kept: (piece, rise).
    """

    text: str
    base: float
    tuned: float
    tokens: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class Report:
    """What `ftkit eval` found.

    Attributes:
        run: path of the run or model.
        seconds: that the evaluation took.
        kept: `best` or `final`: which model lies in model/.
        unit: what a loss is per: `example` or `token`.
        rows: set -> examples that were scored.
        table: model -> set -> metric -> score. Models: base, best, final; also baselines by name. Metrics: loss,
            accuracy, bits_per_byte, and those of the recipe.
        by_source: source -> model -> set -> metric -> score, of base, best and final; empty where data have one source.
        absent: `final/test` -> why the table has no such entry.
        calibration: reliability of the kept model on validation (classification), else empty.
        confusion: rows expected, columns predicted, on validation; empty where there is none.
        forgetting: documents of the reference with the largest rise first; empty where none was scored.
        suspects: labels that are suspected to be wrong, and rows that leak.
        worst: errors of the kept model on validation with the largest loss.
        drift: group of layers -> relative distance of the weights from the base's.
        notes: what was assumed, left out or cannot be known, one sentence each.
        words: term -> its explanation, for those that apply.
        own_metrics: metrics of the table that are functions named on the command line.
        judged: which model was judged, in words, where it is another than the one that is kept.
    """

    run: str
    created: str
    seconds: float
    effort: str
    task: str
    method: str
    base: str
    best_step: int | None
    last_step: int | None
    kept: str
    unit: str
    rows: Mapping[str, int]
    table: Mapping[str, Mapping[str, Mapping[str, Score]]]
    absent: Mapping[str, str]
    curve: Sequence[Point]
    verdict: Verdict
    calibration: Sequence[Bin] = ()
    ece: Score | None = None
    confusion: Sequence[Sequence[int]] = ()
    label_names: Sequence[str] = ()
    forgetting: Sequence[DocumentLoss] = ()
    suspects: Sequence[SuspectRow] = ()
    worst: Sequence[SuspectRow] = ()
    drift: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    by_source: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Score]]]] = field(default_factory=dict)
    own_metrics: Sequence[str] = ()
    judged: str = ""

    def _repr_html_(self) -> str:
        """The verdict with what fired and what to change, for a notebook; report.html says everything."""
        fired = [check for check in self.verdict.checks if check.state == "fired"]
        rows = [(TITLES[check.name], check.summary) for check in fired]
        advice = [f"{change.key}: {change.value} ({change.why})" for change in self.verdict.changes if change.key]
        title = f"{TITLES[self.verdict.headline]}: {self.verdict.sentence}"
        return as_html(title, ("found", "evidence"), rows, below=advice)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in report.json."""
        found: dict[str, Any] = {"version": REPORT_VERSION, **asdict(self), "verdict": self.verdict.to_dict()}
        return {key: _finite(value) for key, value in found.items()}


def _finite(value: Any) -> Any:
    """The same without NaN and infinities, which JSON has no word for: None stands in their place."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
