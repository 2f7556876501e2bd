"""Splitting a validation set off, and drawing samples: seeded, the same on every machine."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ftkit.data.dataset import Split, booleans, strings
from ftkit.data.duplicates import mix
from ftkit.errors import UserError
from ftkit.recipe.data_section import DataSpec


class Division(NamedTuple):
    """Which rows (N,) go to validation; and the labels of one text only, whose rows are all in training."""

    validation: np.ndarray
    lone: tuple[int, ...]


def split_off(keys: np.ndarray, labels: np.ndarray, *, size: float, seed: int) -> Division:
    """Choose validation rows: stratified by label, rows with equal keys on one side.

    Each label gets its share of the validation rows, rounded up or down so that the total is right. Within a label,
    texts are ordered by a hash of text and seed and taken from the front, so the choice depends neither on the order
    of the rows nor on the platform, and adding rows moves few of the others. A text that occurs several times counts
    for the label of its first row; a text with more copies than there is room for stays in training.

    Args:
        keys: (N,) uint64, equal for duplicate texts (`Split.keys`).
        labels: (N,) label indices.
        size: share of the rows below 1, else number of rows.

    Raises:
        ValueError: a size that is not above 0 and below the number of rows, or not a whole number of rows.
    """
    num_rows = len(keys)
    total = _rows_wanted(size, num_rows)
    _, first, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    group_labels = labels[first]
    order = np.argsort(mix(keys[first], seed), kind="stable")
    rows_of_label = np.bincount(group_labels, weights=counts).astype(np.int64)
    groups_of_label = np.bincount(group_labels)
    quotas = _quotas(rows_of_label, groups_of_label, total)
    chosen = np.zeros(len(counts), dtype=bool)
    by_label = order[np.argsort(group_labels[order], kind="stable")]
    ends = np.cumsum(groups_of_label)
    for label, quota in enumerate(quotas):
        members = by_label[ends[label] - groups_of_label[label] : ends[label]]
        chosen[members[_fill(counts[members], int(quota))]] = True
    return Division(chosen[group], tuple(int(label) for label in np.flatnonzero(groups_of_label == 1)))


def sample(num_rows: int, size: int, *, seed: int) -> np.ndarray:
    """Mask (N,) of `size` rows drawn without replacement; all of them when there are no more."""
    mask = np.zeros(num_rows, dtype=bool)
    # the salt keeps the draw from following the order in which split_off took its rows
    mask[np.argsort(mix(np.arange(num_rows, dtype=np.uint64), seed + 0x5A17), kind="stable")[:size]] = True
    return mask


def limited(split: Split, spec: DataSpec, *, seed: int, notes: list[str]) -> Split:
    """As many rows of a split as data.max_train_samples or data.max_eval_samples lets it have."""
    key = "max_train_samples" if split.name == "train" else "max_eval_samples"
    limit: int | None = getattr(spec, key)
    if limit is None or limit >= len(split):
        return split
    notes.append(f"{limit:,} of {len(split):,} {split.name} rows drawn (data.{key}, seed {seed})")
    return split.with_table(split.table.filter(booleans(sample(len(split), limit, seed=seed))))


def _rows_wanted(size: float, num_rows: int) -> int:
    if size >= 1 and size != int(size):
        raise ValueError(f"{size} is neither a share below 1 nor a whole number of rows")
    total = max(1, round(size * num_rows)) if size < 1 else int(size)
    if size <= 0 or total >= num_rows:
        raise ValueError(f"{total} validation rows cannot be taken from {num_rows}")
    return total


def _quotas(rows: np.ndarray, groups: np.ndarray, total: int) -> np.ndarray:
    """Validation rows for each label: largest remainders, none for labels of a single text."""
    exact = rows * (total / rows.sum())
    quotas = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(-(exact - quotas), kind="stable")
    by_remainder = by_remainder[(groups > 1)[by_remainder] & (exact > quotas)[by_remainder]]
    quotas[by_remainder[: max(0, total - int(quotas.sum()))]] += 1
    return np.where(groups > 1, np.minimum(quotas, rows - 1), 0)


def _fill(sizes: np.ndarray, room: int) -> np.ndarray:
    """Indices of groups, from the front, whose sizes add up to `room` or as near below it as they go."""
    taken = int(np.searchsorted(np.cumsum(sizes), room, side="right"))
    chosen = list(range(taken))
    room -= int(sizes[:taken].sum())
    rest = np.arange(taken, len(sizes))
    while room > 0:
        rest = rest[sizes[rest] <= room]
        if len(rest) == 0:
            break
        chosen.append(int(rest[0]))
        room -= int(sizes[rest[0]])
        rest = rest[1:]
    return np.asarray(chosen, dtype=np.int64)


def with_validation(train: Split, kind: str, spec: DataSpec, seed: int, notes: list[str]) -> dict[str, Split]:
    """Both splits, by name.

    Whole rows go to validation, and those that are given the same prompt (or are the same text) go to the same side:
    a model that has seen another answer to a prompt is no longer asked something new. Where too few prompts differ
    for that, only equal rows are kept together. Of a single document the end is cut off. Notes are added on that.

    Raises:
        UserError: a size that does not fit, or rows that are all the same.
    """
    if spec.validation_size == 0:
        return nothing_held_out(train, notes)
    if len(train) == 1 and kind == "text":
        return _end_of_document(train, spec, notes)
    mask, together = _chosen(train, kind, spec, seed)
    splits = parted(train, mask, otherwise="they are all the same")
    notes.append(
        f"no validation set: {int(mask.sum()):,} of {len(train):,} training rows split off, {together} on one side"
        f" (data.validation_size: {spec.validation_size:g}, seed {seed})"
    )
    return splits


def _chosen(train: Split, kind: str, spec: DataSpec, seed: int) -> tuple[np.ndarray, str]:
    if kind != "text" and (mask := divided_by_prompts(train, spec, seed=seed)) is not None:
        return mask, "rows with the same prompt"
    labels = np.zeros(len(train), dtype=np.int64)
    return divided(train, train.keys, labels, spec, seed=seed).validation, "duplicates"


def divided_by_prompts(train: Split, spec: DataSpec, *, seed: int) -> np.ndarray | None:
    """Validation rows (N,), those of one prompt on one side; None where too few prompts differ for half of the rows.

    Raises:
        UserError: a size that does not fit.
    """
    size = spec.validation_size
    mask = divided(train, train.prompt_keys, np.zeros(len(train), dtype=np.int64), spec, seed=seed).validation
    wanted = size * len(train) if size < 1 else size
    return mask if mask.sum() >= max(1, wanted // 2) else None


def divided(train: Split, keys: np.ndarray, labels: np.ndarray, spec: DataSpec, *, seed: int) -> Division:
    """As `split_off`, for the data.validation_size of a recipe.

    Raises:
        UserError: a size that does not fit.
    """
    try:
        return split_off(keys, labels, size=spec.validation_size, seed=seed)
    except ValueError as error:
        raise UserError(
            f"data.validation_size: {spec.validation_size:g} does not fit: {error}",
            where=train.source,
            fix="choose a share below 1 or fewer rows, or name a data.validation_file",
        ) from error


def parted(train: Split, validation: np.ndarray, *, otherwise: str) -> dict[str, Split]:
    """Both splits, by name.

    Raises:
        UserError: no row is chosen for validation (N,), for the reason that is given.
    """
    if not validation.any():
        raise UserError(
            f"no row of {len(train)} can be split off for validation: {otherwise}",
            where=train.source,
            fix="add rows, or name a data.validation_file",
        )
    return {
        "train": train.with_table(train.table.filter(booleans(~validation))),
        "validation": held_out(train, train.table.filter(booleans(validation)), f"split from {train.source}"),
    }


def held_out(train: Split, table: pa.Table, source: str) -> Split:
    """Training rows as a validation set; `source` says so for people."""
    return replace(train, name="validation", table=table, source=source)


def nothing_held_out(train: Split, notes: list[str]) -> dict[str, Split]:
    """Every row to train on, and a validation set without rows; what can then not be told is added to the notes."""
    notes.append(
        "nothing is held out (data.validation_size: 0): every row is trained on and the last step is kept; whether the"
        " model is underfit or overfit, and which step was best, cannot be told"
    )
    return {"train": train, "validation": held_out(train, train.table.slice(0, 0), "nothing")}


def _end_of_document(train: Split, spec: DataSpec, notes: list[str]) -> dict[str, Split]:
    begin, end = cut_end(train, spec)
    share = 1 - len(begin["text"][0].as_py()) / len(train.table["text"][0].as_py())
    notes.append(
        f"no validation set: the last {share:.1%} of the single document cut off, at a line break where"
        f" there is one (data.validation_size: {spec.validation_size:g})"
    )
    return {"train": train.with_table(begin), "validation": held_out(train, end, f"the end of {train.source}")}


def cut_end(train: Split, spec: DataSpec) -> tuple[pa.Table, pa.Table]:
    """The single document of a split in two.

    Raises:
        UserError: the size is no share, or leaves nothing on one side.
    """
    share = spec.validation_size
    if share >= 1:
        raise UserError(
            f"data.validation_size: {share:g} does not fit: there is one document",
            where=train.source,
            fix="write a share such as 0.1 to cut off its end, or name a data.validation_file",
        )
    text: str = train.table.column("text")[0].as_py()
    cut = _cut(text, share)
    if not text[:cut].strip() or not text[cut:].strip():
        raise UserError(
            f"the last {share:g} of a single document of {len(text):,} characters leaves nothing",
            where=train.source,
            fix="add text, or name a data.validation_file",
        )
    place = train.table.column_names.index("text")
    begin, end = (train.table.set_column(place, "text", strings([part])) for part in (text[:cut], text[cut:]))
    return begin, end


def _cut(text: str, share: float) -> int:
    """Where the last share begins: behind the nearest line break, else before a word, else right there."""
    wanted = round(len(text) * (1 - share))
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    within = max(1, round(len(text) * min(share, 1 - share) / 2))
    for pattern in (r"\n\n", r"\n", r"(?=[^\S\n])"):
        places = [match.end() for match in re.compile(pattern).finditer(text, wanted - within, wanted + within)]
        places = [place for place in places if first < place < last]
        if places:
            return min(places, key=lambda place: abs(place - wanted))
    return wanted
