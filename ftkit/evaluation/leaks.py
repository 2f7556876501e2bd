"""Validation and test held against the training set: what stands in both."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import ABOUT_ROWS, Split
from ftkit.diagnosis.measurements import Overlap
from ftkit.evaluation.overlap import find_overlap, find_text_overlap
from ftkit.evaluation.subject import Gathered, Subject, some, some_rows, take

MOST_TRAIN_ROWS = 100_000
HELD_OUT_ROWS = 2_000


def find_leaks(subject: Subject, found: Gathered) -> None:
    """Fill in the overlaps of `found`."""
    splits, seed = subject.splits, subject.seed
    if not splits.holds_out:
        found.absent["overlap"] = "there is no validation set to be compared with train"
    train = some(splits.train, MOST_TRAIN_ROWS, seed=seed)
    if len(train) < len(splits.train):
        found.notes.append(f"leaks were looked for among {len(train):,} of {len(splits.train):,} training rows")
    for split in splits.all()[1:]:
        with subject.reporter.track(f"{split.name} held against train", total=len(split)) as advance:
            if splits.folds is not None and splits.is_out_of_fold(split.name):
                overlap = overlap_of_folds(split, splits.folds, seed=seed)
            else:
                overlap = overlap_of(some(split, HELD_OUT_ROWS, seed=seed), train, seed=seed)
            advance(len(split))
        if split.name == "validation":
            found.overlap = overlap
        else:
            found.test_overlap = overlap


def repeated_share(split: Split) -> float:
    """Share of its rows that repeat an earlier one but for case, spacing and Unicode form."""
    return 1 - len(np.unique(split.keys)) / max(1, len(split))


def overlap_of(held_out: Split, train: Split, *, seed: int) -> Overlap:
    """Rows of a split that stand in the training set, in the way that fits their form."""
    forms = {tuple(part.table.column_names): (rows, part) for rows, part in train.by_form()}
    asked = {tuple(part.table.column_names) for _, part in held_out.by_form()}
    if len(forms | dict.fromkeys(asked)) > 1 and train.source_names:
        return _overlap_of_forms(held_out, forms, seed=seed)
    if set(held_out.table.column_names) <= {"text", *ABOUT_ROWS}:
        return find_text_overlap(held_out.texts, train.texts, seed=seed)
    return find_overlap(
        _asked(held_out),
        _asked(train),
        held_out_targets=_wanted(held_out),
        train_targets=_wanted(train),
        seed=seed,
    )


def _overlap_of_forms(
    held_out: Split, train: Mapping[tuple[str, ...], tuple[npt.NDArray[np.int64], Split]], *, seed: int
) -> Overlap:
    """Rows of a split that stand among the training rows of their form: columns -> numbers of the rows, and these."""
    exact, near = np.zeros(len(held_out), dtype=bool), np.zeros(len(held_out), dtype=bool)
    partners, by_chance = np.full(len(held_out), -1, dtype=np.int64), [0.0]
    for rows, part in held_out.by_form():
        numbers, like = train.get(tuple(part.table.column_names), (None, None))
        if numbers is None or like is None:
            continue
        found = overlap_of(part, like, seed=seed)
        exact[rows], near[rows] = found.exact, found.near
        partners[rows] = np.where(found.partners >= 0, numbers[found.partners], -1)
        by_chance.append(found.near_rate_of_chance)
    return Overlap(exact, near, max(by_chance), partners)


def overlap_of_folds(split: Split, folds: npt.NDArray[np.int64], *, seed: int) -> Overlap:
    """Rows of a split, or of a sample of it, that stand in another fold (N,)."""
    rows, known = (some_rows(len(split), most, seed=seed) for most in (HELD_OUT_ROWS, MOST_TRAIN_ROWS))
    exact, near = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    partners, by_chance = np.full(len(rows), -1, dtype=np.int64), []
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds[rows] == fold), known[folds[known] != fold]
        found = overlap_of(take(split, rows[inside]), take(split, outside), seed=seed)
        exact[inside], near[inside] = found.exact, found.near
        partners[inside] = np.where(found.partners >= 0, outside[found.partners], -1)
        by_chance.append(found.near_rate_of_chance)
    return Overlap(exact, near, float(np.mean(by_chance)), partners)


def _asked(split: Split) -> list[str]:
    """What a model is given in each row."""
    names = split.table.column_names
    if "messages" in names:
        chats = [json.loads(text) for text in split.table.column("messages").to_pylist()]
        return ["\n".join(one["content"] for one in chat if one["role"] != "assistant") for chat in chats]
    if "prompt" in names:
        prompts: list[str] = split.table.column("prompt").to_pylist()
        return prompts
    return split.joined_texts


def _wanted(split: Split) -> list[str] | list[int]:
    """What it is to give in each row."""
    names = split.table.column_names
    if "messages" in names:
        chats = [json.loads(text) for text in split.table.column("messages").to_pylist()]
        return ["\n".join(one["content"] for one in chat if one["role"] == "assistant") for chat in chats]
    if "completion" in names:
        completions: list[str] = split.table.column("completion").to_pylist()
        return completions
    labels: npt.NDArray[np.int64] = split.labels
    return [int(label) for label in labels]
