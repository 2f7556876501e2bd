"""Label values to names, and names to their order."""

from __future__ import annotations

import difflib
import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ftkit.data.dataset import integers
from ftkit.data.duplicates import normalise
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.reading.nested import get, has
from ftkit.data.reading.rows import Row
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError

_PLURAL: dict[type, str] = {str: "strings", int: "integers", bool: "true and false"}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LIST = re.compile(r"\[.*\]|\{.*\}", re.DOTALL)
_FLOAT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Seen:
    """The line of a label's first row, and how many rows have it."""

    line: int
    count: int


class LabelReader:
    """Reads one row's label after the other. Holds the type of the file's first label: one file, one type.

    Args:
        class_names: of the column, where integers stand for names.
        names: the labels that are allowed; None: any.
        stated: whether those come from data.label_names (for messages).
    """

    def __init__(
        self, column: str, class_names: Sequence[str] | None, names: Sequence[str] | None, *, stated: bool
    ) -> None:
        self.column = column
        self.class_names = class_names
        self.names = names
        self.stated = stated
        self.num_missing = 0
        self._type: type | None = None
        self._index: dict[str, int] = {}
        self._lines: list[int] = []
        self._codes = array("i")

    def read(self, row: Row) -> None:
        """Take note of a row's label.

        Raises:
            Unusable: it is missing, no label, of another type than the first, or none of those that are allowed.
        """
        if not has(row.values, self.column):
            raise self._missing(f"no {self.column} in this row")
        value = get(row.values, self.column)
        name = self._spelling(value)
        if self._type is None:
            self._type = type(value)
        elif type(value) is not self._type:
            raise Unusable(
                f"the label is {kind_of(value)}, while the rows before have {_PLURAL[self._type]}",
                "write all labels as strings, or all as integers",
            )
        if self.names is not None and name not in self._index and name not in self.names:
            raise _unknown(name, self.names, stated=self.stated)
        code = self._index.setdefault(name, len(self._index))
        if code == len(self._lines):
            self._lines.append(row.line)
        self._codes.append(code)

    def _spelling(self, value: object) -> str:
        """The name of a label as it stands in a row.

        Strings stay as they are, integers become their digits, booleans `true` and `false`; an integer in a ClassLabel
        column becomes the class's name, and its -1 (how hidden test labels are marked) counts as missing.
        """
        if value is None or (isinstance(value, str) and not value.strip()):
            raise self._missing("the label is missing")
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value) if self.class_names is None else self._class_name(value, self.class_names)
        if isinstance(value, float):
            fix = f"write {value:.0f}" if value.is_integer() else "a regression target is no class"
            raise Unusable(f"the label is the number {value}; classes are strings or integers", fix)
        several = "; a classifier learns one label a row" if isinstance(value, list) else ""
        raise Unusable(f"the label is {kind_of(value)}", f"write a string or an integer{several}")

    def _class_name(self, value: int, names: Sequence[str]) -> str:
        if value == -1:
            raise self._missing("the label is missing (-1)")
        if 0 <= value < len(names):
            return names[value]
        raise Unusable(f"label {value} is outside the column's {len(names)} classes", f"use 0 to {len(names) - 1}")

    def _missing(self, reason: str) -> Unusable:
        self.num_missing += 1
        return Unusable(reason, "fill it in")

    @property
    def seen(self) -> dict[str, Seen]:
        """Each label as spelt, in the order of first occurrence."""
        counts = np.bincount(np.asarray(self._codes, dtype=np.int32), minlength=len(self._index))
        return {name: Seen(self._lines[code], int(counts[code])) for name, code in self._index.items()}

    def column_of(self, names: Sequence[str]) -> pa.Array:
        """The labels of all rows as indices (int32) into `names`."""
        index = {name: number for number, name in enumerate(names)}
        order = np.asarray([index[name] for name in self._index], dtype=np.int32)
        return integers(order[np.frombuffer(self._codes, dtype=np.int32)] if self._codes else order[:0])


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Sorted, by value when all are integers.

    Example:
        >>> in_order(["10", "9", "-1"])
        ('-1', '9', '10')
    """
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def rows_of_head(names: Sequence[str], head: Sequence[str]) -> tuple[int, ...] | None:
    """The row of a classification head that each label is of; None where the two do not name the same labels.

    Names are the same when they are equal but for case and white space, and a row that bears no name of its own
    (`LABEL_2`) is that of the number.

    Example:
        >>> rows_of_head(["negative", "positive"], ["POSITIVE", "NEGATIVE"])
        (1, 0)
    """
    keys, rows = list(map(_head_key, names)), list(map(_head_key, head))
    if len(set(keys)) < len(keys) or len(set(rows)) < len(rows):
        # some differ in nothing but case
        keys, rows = list(names), list(head)
    if set(keys) != set(rows) or len(keys) != len(rows):
        return None
    return tuple(rows.index(key) for key in keys)


def _head_key(name: str) -> str:
    return re.sub(r"^label_(?=[0-9]+$)", "", normalise(name))


def training_names(seen: Mapping[str, Seen], *, column: str, where: str) -> tuple[str, ...]:
    """The label names of a training set for which nobody stated any.

    Labels that differ in case or white space only (`SPAM`, `ham`, ` ham`) are refused rather than merged: a model of
    five classes for two would train without a complaint and score badly, yet merging guesses, and where `US` and `us`
    do differ it guesses wrong. The mending is one replacement in the file, and whoever means them to differ says so
    in data.label_names.

    Raises:
        UserError: one class only, nearly as many classes as rows, several spellings of a class, or numbers with a
            fraction.
    """
    refuse_no_classes(seen, column=column, where=where)
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
    if len(seen) < 2:
        raise UserError(
            f"every row has the same label, {next(iter(seen))!r} (column {column})",
            where=where,
            fix="a classifier needs rows of at least two classes",
        )
    return in_order(list(seen))


def refuse_no_classes(seen: Mapping[str, Seen], *, column: str, where: str) -> None:
    """Refuse labels that are lists, several in one, or numbers with a fraction.

    Raises:
        UserError: with the line of the first.
    """
    if lists := [name for name in seen if _LIST.fullmatch(name.strip())]:
        raise UserError(
            f"labels in column {column} are lists, such as {lists[0][:60]!r}: a row may have several",
            where=f"{where}:{seen[lists[0]].line}",
            fix="a classifier learns one label a row: keep one of each list; if these are classes, list them in"
            " data.label_names",
        )
    if joined := _joined(seen):
        separator, several = joined
        raise UserError(
            f"labels in column {column} look like several in one, parted by {separator!r}: {several[:60]!r}",
            where=f"{where}:{seen[several].line}",
            fix="a classifier learns one label a row: keep one of them; if these are classes, list them in"
            " data.label_names",
        )
    if all(_FLOAT.fullmatch(name) for name in seen) and not all(_INTEGER.fullmatch(name) for name in seen):
        raise UserError(
            f"the labels in column {column} are numbers with a fraction: {shortened(list(seen))}",
            where=f"{where}:{min(entry.line for entry in seen.values())}",
            fix="classes are strings or integers (spreadsheets and pandas write 1 as 1.0 when another label is"
            " missing); if these are classes, list them in data.label_names",
        )


def _joined(seen: Mapping[str, Seen]) -> tuple[str, str] | None:
    """A separator and a label of several parts, where each of most such labels has only parts that others have too."""
    for separator in ",;|":
        parts = {name: {part.strip() for part in name.split(separator)} for name in seen}
        counts = Counter(part for found in parts.values() for part in found)
        several = [name for name, found in parts.items() if len(found) > 1]
        made = [name for name in several if all(part and counts[part] > 1 for part in parts[name])]
        if made and 2 * len(made) > len(several):
            return separator, made[0]
    return None


def spelling_groups(names: Mapping[str, object] | Sequence[str]) -> list[list[str]]:
    """Labels that are equal but for case, white space and Unicode form: groups of two or more spellings, sorted."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(normalise(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _unknown(name: str, names: Sequence[str], *, stated: bool) -> Unusable:
    by_form = {normalise(known): known for known in names}
    near = difflib.get_close_matches(normalise(name), list(by_form), n=1, cutoff=0.7)
    origin = "in data.label_names" if stated else "in the training set"
    fix = f"did you mean {by_form[near[0]]!r}?" if near else "correct it, or add training rows for it"
    return Unusable(f"label {name!r} is not {origin} ({shortened(names)})", fix)


def shortened(names: Sequence[str]) -> str:
    """The first ten names, for a message."""
    shown = ", ".join(name if len(name) <= 40 else f"{name[:37]}..." for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _count(name: str, seen: Seen) -> str:
    return f"{name!r} ({seen.count} rows, first in line {seen.line})"
