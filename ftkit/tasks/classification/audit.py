"""The audit of the data before step 1: what would spoil a run or its figures, counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftkit.data.audit import (
    SMALL_CLASS,
    WRONGLY_DECODED,
    encoding_warnings,
    leak_warnings,
    leaks,
    number_of,
    repeats,
    rows_matching,
    split_warnings,
)
from ftkit.data.dataset import Split, Splits
from ftkit.data.duplicates import example_columns
from ftkit.data.labels import shortened, spelling_groups

_MAJORITY = 0.8


@dataclass(frozen=True)
class DataAudit:
    """What was counted. Split names are train, validation and, where there is one, test.

    Texts count as the same when they differ in case, spacing and Unicode form only.

    Attributes:
        label_counts: split -> label -> rows, in the order of the label names.
        duplicates: split -> rows whose text occurs in an earlier row of the split.
        conflicts: split -> different texts that occur with two or more labels.
        leaks: `train/validation`, `train/test` and `validation/test` -> rows of the second whose text is in the first.
        wrongly_decoded: split -> rows with the marks of a wrong encoding.
        majority_share: split -> share of that label: the accuracy of always answering it.
        small_classes: label -> training rows, for those below SMALL_CLASS.
        label_spellings: labels that differ in case or white space only.
        warnings: one sentence each.
    """

    rows: dict[str, int]
    label_counts: dict[str, dict[str, int]]
    duplicates: dict[str, int]
    conflicts: dict[str, int]
    leaks: dict[str, int]
    empty_texts: dict[str, int]
    wrongly_decoded: dict[str, int]
    majority_label: str
    majority_share: dict[str, float]
    small_classes: dict[str, int]
    label_spellings: list[list[str]]
    warnings: list[str]


def audit(splits: Splits) -> DataAudit:
    """Count what can be counted without a tokenizer; a second or two for a million rows. Labels may stand as text."""
    present, names = splits.apart(), splits.label_names
    # `text`, or `prompt` where labels are written as text
    text = example_columns(splits.train.table)[:1]
    counts = {split.name: np.bincount(split.labels, minlength=len(names)) for split in present}
    majority = int(counts["train"].argmax())
    figures = DataAudit(
        rows={split.name: len(split) for split in present},
        label_counts={name: dict(zip(names, map(int, count), strict=True)) for name, count in counts.items()},
        duplicates={split.name: repeats(split.prompt_keys) for split in present},
        conflicts={split.name: _conflicts(split) for split in present},
        leaks=leaks({split.name: split.prompt_keys for split in present}),
        empty_texts={split.name: rows_matching(split, r"^\s*$", text) for split in present},
        wrongly_decoded={split.name: rows_matching(split, WRONGLY_DECODED, text) for split in present},
        majority_label=names[majority],
        majority_share={name: float(count[majority] / max(1, count.sum())) for name, count in counts.items()},
        small_classes={
            name: int(count) for name, count in zip(names, counts["train"], strict=True) if count < SMALL_CLASS
        },
        label_spellings=spelling_groups(names),
        warnings=[],
    )
    figures.warnings.extend(_warnings(figures))
    return figures


def _conflicts(split: Split) -> int:
    """Texts that have several labels."""
    if not len(split):
        return 0
    order = np.argsort(split.prompt_keys, kind="stable")
    keys, labels = split.prompt_keys[order], split.labels[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return int((np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)).sum())


def _warnings(figures: DataAudit) -> list[str]:
    """Worst first: what makes figures untrue, then what makes the model worse, then what to know."""
    found = leak_warnings(figures.leaks, figures.rows, "row", _leak_words)
    for split, count in figures.conflicts.items():
        if count:
            found.append(
                f"{number_of(count, 'text')} in {split} with different labels: at most one of them can be right."
            )
    if figures.label_spellings:
        groups = "; ".join(" = ".join(map(repr, group)) for group in figures.label_spellings[:5])
        found.append(f"Labels that differ in case or spaces only: {groups}.")
    found += split_warnings(figures.empty_texts, "row", "without text.")
    found += encoding_warnings(figures.wrongly_decoded, figures.rows, "row")
    found += _class_warnings(figures)
    return found + split_warnings(figures.duplicates, "row", "with the text of an earlier row.", rows=figures.rows)


def _leak_words(first: str) -> str:
    what_to_do = " data.drop_duplicates leaves them out of train." if first == "train" else ""
    return f"with a text that is also in {first}: scores will be too high.{what_to_do}"


def _class_warnings(figures: DataAudit) -> list[str]:
    found: list[str] = []
    if few := figures.small_classes:
        shown = shortened([f"{name} ({count})" for name, count in few.items()])
        found.append(f"Classes with fewer than {SMALL_CLASS} training rows: {shown}.")
    absent = [
        name
        for name, count in figures.label_counts.get("validation", {}).items()
        if count == 0 and figures.label_counts["train"][name] > 0
    ]
    if absent:
        found.append(f"Classes without a validation row: {shortened(absent)}.")
    if (share := figures.majority_share["train"]) >= _MAJORITY:
        found.append(
            f"{share:.1%} of the training rows are {figures.majority_label}: always answering that scores as much,"
            " so look at f1_macro or matthews rather than accuracy."
        )
    return found
