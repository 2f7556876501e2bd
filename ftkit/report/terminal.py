"""A run's scores as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

WIDEST_MATRIX = 12
"""Confusion matrices of more labels than this are left to metrics.json."""


def metrics_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Each split's scores, one a line, with interval and number of rows; a small confusion matrix whole."""
    for split, entries in metrics.items():
        rows = next(iter(entries.values()))["n"]
        yield f"{split} ({rows:,} rows)"
        for name, entry in entries.items():
            if name == "confusion":
                yield from _confusion_lines(entry)
            else:
                yield _score_line(name, entry)


def _score_line(name: str, entry: Mapping[str, Any]) -> str:
    value = entry["value"]
    if value is None:
        return f"  {name:<12} undefined: {entry.get('reason', '')}"
    interval = ""
    if entry.get("low") is not None and entry.get("high") is not None:
        interval = f"  95 % {entry['low']:.4f} to {entry['high']:.4f}"
    about = f"  {entry['note']}" if entry.get("note") else ""
    return f"  {name:<12} {value:.4f}{interval}{about}"


def _confusion_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    matrix, labels = entry["value"], entry["labels"]
    if matrix is None or len(labels) > WIDEST_MATRIX:
        yield f"  {'confusion':<12} in metrics.json"
        return
    width = max(len(str(value)) for row in matrix for value in row) + 1
    names = max(len(str(label)) for label in labels)
    yield "  confusion (rows: expected, columns: predicted)"
    for label, row in zip(labels, matrix, strict=True):
        yield f"    {label!s:<{names}}" + "".join(f"{value:>{width}}" for value in row)
