"""From the records of planted runs to rates with exact bounds: of our verdicts and of naive rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from scipy.stats import beta

Record = Mapping[str, Any]
ABSTAINED = ("cannot_tell", "too_little_data")


class Share(NamedTuple):
    """A share with its Clopper-Pearson 95 % interval.

    Attributes:
        count: hits.
        total: of how many; 0 makes the share NaN.
        low: lower end.
        high: upper end.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.total if self.total else float("nan")


def share(count: int, total: int) -> Share:
    """A share with its exact interval.

    Args:
        count: hits, 0 to `total`.
        total: trials.

    Source: Clopper and Pearson 1934, by quantiles of the beta distribution.

    Example:
        >>> round(share(57, 60).low, 3)
        0.861
    """
    if not total:
        return Share(0, 0, 0.0, 1.0)
    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(0.975, count + 1, total - count))
    return Share(count, total, low, high)


def upper_bound(count: int, total: int) -> float:
    """One-sided 95 % upper bound of a share; 0 of 149 gives 2 %.

    Example:
        >>> round(upper_bound(0, 149), 4)
        0.0199
    """
    return 1.0 if not total or count == total else float(beta.ppf(0.95, count + 1, total - count))


def scored(records: Sequence[Record]) -> list[Record]:
    """Those whose planting was confirmed and that were judged."""
    return [record for record in records if record.get("confirmed") and record.get("headline")]


def confusion(records: Sequence[Record]) -> dict[str, Counter[str]]:
    """Planted condition -> headline -> runs."""
    found: dict[str, Counter[str]] = {}
    for record in scored(records):
        found.setdefault(record["condition"], Counter())[record["headline"]] += 1
    return found


def is_right(record: Record) -> bool:
    """Whether the headline is what was planted."""
    return bool(record["headline"] == record["condition"])


def is_half_right(record: Record) -> bool:
    """Whether what was planted fired, behind another headline."""
    return not is_right(record) and record["condition"] in record.get("fired", ())


def abstained(record: Record) -> bool:
    """Whether no verdict was given although there were enough data for one."""
    return record["condition"] != "too_little_data" and record["headline"] in ABSTAINED


def false_alarm(record: Record) -> bool:
    """Whether something was said of a healthy run."""
    return record["condition"] == "healthy" and record["headline"] not in {"healthy", *ABSTAINED}


def cleared(record: Record) -> bool | None:
    """Whether training again as advised made the planted condition go; None where no key carries the advice out."""
    advised = record.get("advised")
    if not advised or advised.get("keys") == []:
        return None
    return record["condition"] not in advised.get("fired", ())


Naive = Callable[[Mapping[str, Sequence[float]]], str]
"""From the history of a run (`validation`, `train` losses and `metric`, by evaluation) to a headline."""


def by_ratio(history: Mapping[str, Sequence[float]]) -> str:
    """Overfit where the last validation loss is above 1.1 times the last training loss."""
    return "overfit" if history["validation"][-1] > 1.1 * history["train"][-1] else "healthy"


def by_minimum(history: Mapping[str, Sequence[float]]) -> str:
    """Overfit where the last validation loss is above 1.2 times its minimum."""
    return "overfit" if history["validation"][-1] > 1.2 * min(history["validation"]) else "healthy"


def by_drop(history: Mapping[str, Sequence[float]]) -> str:
    """Overfit where the metric ends a tenth below its best."""
    return "overfit" if history["metric"][-1] < 0.9 * max(history["metric"]) else "healthy"


def always_healthy(_history: Mapping[str, Sequence[float]]) -> str:
    """Healthy."""
    return "healthy"


NAIVE: dict[str, Naive] = {
    "val > 1.1 x train": by_ratio,
    "eval > 1.2 x its minimum": by_minimum,
    "metric 10 % below its best": by_drop,
    "always healthy": always_healthy,
}
"""Name -> rule."""


class RuleScore(NamedTuple):
    """What a rule achieves on the scored runs.

    Attributes:
        right: headline is the planted condition.
        told_faulty: faulty runs of which it says that something is wrong, too little data included.
        false_alarms: healthy runs of which it says that something is wrong.
    """

    right: Share
    told_faulty: Share
    false_alarms: Share


def naive_score(records: Sequence[Record], rule: str) -> RuleScore:
    """Of a naive rule, on the scored runs that have a history."""
    judged = [record for record in scored(records) if rule in record.get("naive", {})]
    return _score([{**record, "headline": record["naive"][rule]} for record in judged])


def own_score(records: Sequence[Record]) -> RuleScore:
    """Of `ftkit eval`."""
    return _score(scored(records))


def _score(judged: Sequence[Record]) -> RuleScore:
    healthy = [record for record in judged if record["condition"] == "healthy"]
    faulty = [record for record in judged if record["condition"] != "healthy"]
    told = sum(record["headline"] not in {"healthy", "cannot_tell"} for record in faulty)
    return RuleScore(
        share(sum(map(is_right, judged)), len(judged)),
        share(told, len(faulty)),
        share(sum(map(false_alarm, healthy)), len(healthy)),
    )
