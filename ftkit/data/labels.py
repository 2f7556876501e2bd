"""Label values to names, and names to their order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftkit.data.duplicates import normalise
from ftkit.data.reading.json_rows import kind_of
from ftkit.errors import UserError

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Seen:
    """Where a label occurs.

    Attributes:
        line: of its first row.
        count: how many rows have it.
    """

    line: int
    count: int


def spelling(value: object, class_names: Sequence[str] | None) -> str | tuple[str, str]:
    """The name of a label as it stands in a row, or (reason, fix) when it is none.

    Strings stay as they are, integers become their digits, booleans `true` and `false`; an integer in a ClassLabel
    column becomes the class's name, and its -1 (how hidden test labels are marked) counts as missing.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return "the label is missing", "fill it in"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if class_names is None:
            return str(value)
        if value == -1:
            return "the label is missing (-1)", "fill it in"
        if 0 <= value < len(class_names):
            return class_names[value]
        return f"label {value} is outside the column's {len(class_names)} classes", f"use 0 to {len(class_names) - 1}"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        fix = f"write {value:.0f}" if value.is_integer() else "a regression target is no class"
        return f"the label is the number {value}; classes are strings or integers", fix
    return f"the label is {kind_of(value)}", "write a string or an integer"


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Sorted, by value when all are integers.

    Example:
        >>> in_order(["10", "9", "-1"])
        ('-1', '9', '10')
    """
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def training_names(seen: Mapping[str, Seen], *, column: str, where: str) -> tuple[str, ...]:
    """The label names of a training set for which nobody stated any.

    Labels that differ in case or white space only (`SPAM`, `ham`, ` ham`) are refused rather than merged: a model of
    five classes for two would train without a complaint and score badly, yet merging guesses, and where `US` and `us`
    do differ it guesses wrong. The mending is one replacement in the file, and whoever means them to differ says so
    in data.label_names.

    Args:
        seen: each label as spelt in the file.
        column: the label column, for messages.
        where: the file, for messages.

    Raises:
        UserError: one class only, nearly as many classes as rows, several spellings of a class, or numbers with a
            fraction.
    """
    num_rows = sum(entry.count for entry in seen.values())
    if len(seen) > max(10, num_rows / 2):
        raise UserError(
            f"column {column} has {len(seen):,} different values in {num_rows:,} rows, too many for labels",
            where=where,
            fix="name another column in data.label_column; if these are classes, list them in data.label_names",
        )
    if groups := spelling_groups(seen):
        lines = "; ".join(" = ".join(_count(name, seen[name]) for name in group) for group in groups[:10])
        raise UserError(
            f"labels that differ in case or spaces only, in column {column}: {lines}",
            where=where,
            fix="spell each class one way; or, if they are different classes, list every spelling in data.label_names",
        )
    if all(_FLOAT.fullmatch(name) for name in seen) and not all(_INTEGER.fullmatch(name) for name in seen):
        raise UserError(
            f"the labels in column {column} are numbers with a fraction: {shortened(list(seen))}",
            where=f"{where}:{min(entry.line for entry in seen.values())}",
            fix="classes are strings or integers (spreadsheets and pandas write 1 as 1.0 when another label is"
            " missing); if these are classes, list them in data.label_names",
        )
    if len(seen) < 2:
        raise UserError(
            f"every row has the same label, {next(iter(seen))!r} (column {column})",
            where=where,
            fix="a classifier needs rows of at least two classes",
        )
    return in_order(list(seen))


def spelling_groups(names: Mapping[str, object] | Sequence[str]) -> list[list[str]]:
    """Labels that are equal but for case, white space and Unicode form: groups of two or more spellings, sorted."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(normalise(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def unknown(name: str, names: Sequence[str], *, stated: bool) -> tuple[str, str]:
    """(reason, fix) for a label that is not among the names."""
    by_form = {normalise(known): known for known in names}
    near = difflib.get_close_matches(normalise(name), list(by_form), n=1, cutoff=0.7)
    origin = "in data.label_names" if stated else "in the training set"
    reason = f"label {name!r} is not {origin} ({shortened(names)})"
    return reason, f"did you mean {by_form[near[0]]!r}?" if near else "correct it, or add training rows for it"


def shortened(names: Sequence[str]) -> str:
    """The first ten names, for a message."""
    shown = ", ".join(name if len(name) <= 40 else f"{name[:37]}..." for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _count(name: str, seen: Seen) -> str:
    return f"{name!r} ({seen.count} rows, first in line {seen.line})"
