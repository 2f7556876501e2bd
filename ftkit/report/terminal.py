"""A run's scores as lines for a terminal, and as the table of its card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftkit.report.tables import table_lines
from ftkit.runs.run import BY_SOURCE

BASE_SPLIT = "base_"
"""Before the name of a split whose scores are those of the untrained base."""
METRIC_WIDTH, METRIC_WIDTH_BESIDE_BASE = 12, 14
"""Characters for the name of a metric, at least: those of classifiers, those of language models."""
WIDEST_MATRIX = 12
"""Confusion matrices of more labels than this are left to metrics.json."""


def metrics_lines(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Each split's scores, one a line, with interval and number of rows; a small confusion matrix whole.

    The scores of a language model stand beside those of its untrained base (`base_validation`, `base_test`); behind
    those of all rows stand those of the rows of each source, where there are several.
    """
    yield from _lines_of_splits(metrics)
    for source, of_it in metrics.get(BY_SOURCE, {}).items():
        yield from _lines_of_splits(of_it, source=source)


def _lines_of_splits(metrics: Mapping[str, Mapping[str, dict[str, Any]]], *, source: str = "") -> Iterator[str]:
    for split, entries in metrics.items():
        if split.startswith(BASE_SPLIT) or split == BY_SOURCE:
            continue
        shared = _shared_note(entries)
        about = f": {shared}" if shared else ""
        yield f"{split}{f', {source}' if source else ''} ({_size(next(iter(entries.values())))}){about}"
        base = metrics.get(BASE_SPLIT + split, {})
        width = max(METRIC_WIDTH if not base else METRIC_WIDTH_BESIDE_BASE, *map(len, entries))
        for name, entry in entries.items():
            if name == "confusion" and source:
                continue
            if name == "confusion":
                yield from _confusion_lines(entry)
            else:
                yield _score_line(name, entry | {"note": ""} if shared else entry, base.get(name), width=width)


def score_rows(metrics: Mapping[str, Mapping[str, Any]], *, beside_base: bool) -> list[list[str]]:
    """The head of a table, and a row for each score of each split; what is no number is left to metrics.json.

    With `beside_base` each stands beside the score of the untrained base, undefined ones too.
    """
    head = ["finetuned", "95 % interval", "base", "texts"] if beside_base else ["value", "95 % interval", "rows"]
    rows = [["split", "metric", *head], *_rows_of_splits(metrics, beside_base=beside_base)]
    for source, of_it in metrics.get(BY_SOURCE, {}).items():
        rows += [[f"{row[0]}, {source}", *row[1:]] for row in _rows_of_splits(of_it, beside_base=beside_base)]
    return rows


def _rows_of_splits(metrics: Mapping[str, Mapping[str, dict[str, Any]]], *, beside_base: bool) -> list[list[str]]:
    rows = []
    for split, entries in metrics.items():
        for name, entry in entries.items() if split != BY_SOURCE else ():
            value, low, high = (entry.get(key) for key in ("value", "low", "high"))
            is_shown = isinstance(value, int | float) or (value is None and beside_base)
            if split.startswith(BASE_SPLIT) or not is_shown:
                continue
            interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
            base = metrics.get(BASE_SPLIT + split, {}).get(name, {}).get("value")
            shown = ["" if one is None else decimals(one) for one in (value, base)]
            rows.append([split, name, shown[0], interval, *shown[1 : 1 + beside_base], str(entry["n"])])
    return rows


def _shared_note(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """What is to be said of all metrics of a split alike, and so once."""
    notes = {entry.get("note", "") for entry in entries.values()}
    return str(notes.pop()) if len(notes) == 1 and len(entries) > 1 else ""


def _size(entry: Mapping[str, Any]) -> str:
    if "num_targets" in entry:
        return f"{entry['n']:,} text{'' if entry['n'] == 1 else 's'}, {entry['num_targets']:,} tokens predicted"
    return f"{entry['n']:,} rows"


def _score_line(name: str, entry: Mapping[str, Any], base: Mapping[str, Any] | None, *, width: int) -> str:
    value = entry["value"]
    if value is None:
        return f"  {name:<{width}} undefined: {entry.get('reason', '')}"
    interval = ""
    if entry.get("low") is not None and entry.get("high") is not None:
        interval = f"  95 % {decimals(entry['low'])} to {decimals(entry['high'])}"
    before = f"  base {decimals(base['value'])}" if base is not None and base["value"] is not None else ""
    about = f"  {entry['note']}" if entry.get("note") else ""
    return f"  {name:<{width}} {decimals(value)}{interval}{before}{about}"


def _confusion_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    matrix, labels = entry["value"], entry["labels"]
    if matrix is None or len(labels) > WIDEST_MATRIX:
        yield f"  {'confusion':<12} in metrics.json"
        return
    yield "  confusion (rows: expected, columns: predicted)"
    width = max(len(str(value)) for row in matrix for value in row)
    rows = [[str(label), *(f"{value:>{width}}" for value in row)] for label, row in zip(labels, matrix, strict=True)]
    yield from table_lines(rows, gap=1, indent=4)


def decimals(value: float, *, most: float = 1e6) -> str:
    """A score with four decimals, fewer where it is larger than `most`."""
    # the perplexity of a broken model has hundreds of digits
    return f"{value:.4f}" if abs(value) < most else f"{value:.4g}"
