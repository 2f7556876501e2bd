"""The records of a set as plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from fit.scoring import (
    NAIVE,
    Record,
    Share,
    abstained,
    cleared,
    confusion,
    false_alarm,
    is_half_right,
    is_right,
    naive_score,
    own_score,
    scored,
    share,
    upper_bound,
)


def render(records: Sequence[Record]) -> str:
    """Everything that the benchmark reports, as lines."""
    parts = [
        _plantings(records),
        _matrix(records),
        _totals(records),
        _by_condition(records),
        _naive(records),
        _advice(records),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def _plantings(records: Sequence[Record]) -> Iterable[str]:
    planted = Counter(record["condition"] for record in records)
    held = Counter(record["condition"] for record in records if record.get("confirmed"))
    broken = Counter(record["condition"] for record in records if record.get("error"))
    yield "plantings: condition, planted, confirmed by the truth check, failed it, broken"
    for condition, count in planted.items():
        failed = count - held[condition] - broken[condition]
        yield f"  {condition:16} {count:4} {held[condition]:4} {failed:4} {broken[condition]:4}"


def _matrix(records: Sequence[Record]) -> Iterable[str]:
    matrix = confusion(records)
    headlines = list(dict.fromkeys([*matrix, *(headline for row in matrix.values() for headline in row)]))
    yield "planted x headline (confirmed runs)"
    yield " " * 18 + " ".join(f"{headline[:9]:>9}" for headline in headlines)
    for condition, row in matrix.items():
        yield f"  {condition:16}" + " ".join(f"{row[headline] or '.':>9}" for headline in headlines)


def _totals(records: Sequence[Record]) -> Iterable[str]:
    judged = scored(records)
    healthy = [record for record in judged if record["condition"] == "healthy"]
    enough = [record for record in judged if record["condition"] != "too_little_data"]
    alarms = sum(map(false_alarm, healthy))
    yield f"headline right        {percent(share(sum(map(is_right, judged)), len(judged)))}"
    yield f"fired, not headline   {percent(share(sum(map(is_half_right, judged)), len(judged)))}"
    bound = upper_bound(alarms, len(healthy))
    yield f"false alarms, healthy {percent(share(alarms, len(healthy)))}; at most {bound:.1%}"
    yield f"abstentions           {percent(share(sum(map(abstained, enough)), len(enough)))}"
    if judged:
        yield f"seconds a run         {sum(record.get('seconds', 0.0) for record in judged) / len(judged):.1f}"


def _by_condition(records: Sequence[Record]) -> Iterable[str]:
    judged = scored(records)
    yield "by condition: headline right, fired but not headline, abstained"
    for condition in dict.fromkeys(record["condition"] for record in judged):
        some = [record for record in judged if record["condition"] == condition]
        right, half = sum(map(is_right, some)), sum(map(is_half_right, some))
        yield f"  {condition:16} {percent(share(right, len(some)))}, {half}, {sum(map(abstained, some))}"


def _naive(records: Sequence[Record]) -> Iterable[str]:
    yield "beside naive rules: headline right; faulty runs noticed; false alarms"
    for rule, found in {
        "ftkit eval": own_score(records),
        **{rule: naive_score(records, rule) for rule in NAIVE},
    }.items():
        yield f"  {rule:27} {'; '.join(percent(part) for part in found)}"


def _advice(records: Sequence[Record]) -> Iterable[str]:
    faulty = [record for record in scored(records) if record["condition"] not in {"healthy", "too_little_data"}]
    fired = [record for record in faulty if is_right(record)]
    outcomes = {record["name"]: cleared(record) for record in fired}
    tried = [outcome for outcome in outcomes.values() if outcome is not None]
    yield f"training again as advised clears {percent(share(sum(tried), len(tried)))} of what was told right"
    data_only = sum(outcome is None for outcome in outcomes.values())
    yield f"  ({data_only} more where the advice is to change the data, which no key of a recipe can do)"
    for condition in dict.fromkeys(record["condition"] for record in fired):
        some = [outcomes[r["name"]] for r in fired if r["condition"] == condition and outcomes[r["name"]] is not None]
        if some:
            yield f"  {condition:16} {percent(share(sum(map(bool, some)), len(some)))}"


def percent(found: Share) -> str:
    """`95.0 % (57 of 60; 86.1 to 99.0 %)`."""
    if not found.total:
        return "- (none)"
    return f"{found.value:.1%} ({found.count} of {found.total}; {found.low:.1%} to {found.high:.1%})"
