"""A validation set split off from the training set of a language model."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from ftkit.data import arrays
from ftkit.data.dataset import Split
from ftkit.data.split import split_off
from ftkit.errors import UserError
from ftkit.recipe.schema import DataSpec


def with_validation(train: Split, kind: str, spec: DataSpec, seed: int, notes: list[str]) -> dict[str, Split]:
    """Both splits, by name.

    Whole rows go to validation, and those that are given the same prompt (or are the same text) go to the same side:
    a model that has seen another answer to a prompt is no longer asked something new. Where too few prompts differ
    for that, only equal rows are kept together. Of a single document the end is cut off.

    Args:
        train: what is read as training set.
        kind: text, completion or chat.
        spec: data.validation_size: a share below 1, or a number of rows.
        seed: another seed, another choice.
        notes: what was split off is added here.

    Raises:
        UserError: a size that does not fit, or rows that are all the same.
    """
    if len(train) == 1 and kind == "text":
        return _end_of_document(train, spec, notes)
    mask, together = _chosen(train, kind, spec, seed)
    notes.append(
        f"no validation set: {int(mask.sum()):,} of {len(train):,} training rows split off, {together} on one side"
        f" (data.validation_size: {spec.validation_size:g}, seed {seed})"
    )
    return {
        "train": Split("train", train.table.filter(arrays.mask(~mask)), train.source),
        "validation": Split("validation", train.table.filter(arrays.mask(mask)), f"split from {train.source}"),
    }


def _chosen(train: Split, kind: str, spec: DataSpec, seed: int) -> tuple[np.ndarray, str]:
    labels = np.zeros(len(train), dtype=np.int64)
    size = spec.validation_size
    try:
        if kind != "text":
            mask = split_off(train.prompt_keys, labels, size=size, seed=seed).validation
            wanted = size * len(train) if size < 1 else size
            if mask.sum() >= max(1, wanted // 2):
                return mask, "rows with the same prompt"
        mask = split_off(train.keys, labels, size=size, seed=seed).validation
    except ValueError as error:
        raise UserError(
            f"data.validation_size: {size:g} does not fit: {error}",
            where=train.source,
            fix="choose a share below 1 or fewer rows, or name a data.validation_file",
        ) from error
    if not mask.any():
        raise UserError(
            f"no row of {len(train)} can be split off for validation: they are all the same",
            where=train.source,
            fix="add rows, or name a data.validation_file",
        )
    return mask, "duplicates"


def _end_of_document(train: Split, spec: DataSpec, notes: list[str]) -> dict[str, Split]:
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
    notes.append(
        f"no validation set: the last {1 - cut / len(text):.1%} of the single document cut off, at a line break where"
        f" there is one (data.validation_size: {share:g})"
    )
    parts = [pa.table({"text": arrays.strings([part])}) for part in (text[:cut], text[cut:])]
    return {
        "train": Split("train", parts[0], train.source),
        "validation": Split("validation", parts[1], f"the end of {train.source}"),
    }


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
