"""The rows of several sources in one split, and parts of them for validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ftkit.data.dataset import ABOUT_ROWS, SOURCE_COLUMN, Split, booleans, integers
from ftkit.data.prompting import Prompting
from ftkit.data.split import cut_end, divided, divided_by_prompts, nothing_held_out
from ftkit.errors import UserError
from ftkit.recipe.data_section import DataSpec


def joined(name: str, parts: Sequence[tuple[str, Split]], names: Sequence[str]) -> Split:
    """The rows of some sources, one behind the other.

    Args:
        name: of the split.
        parts: source -> its rows; a column that one lacks is null there.
        names: of all sources, in the order of their numbers; none where there is one, which stays as it is.
    """
    if not names:
        return parts[0][1]
    tables = [
        part.table.append_column(SOURCE_COLUMN, integers(np.full(len(part), names.index(source))))
        for source, part in parts
    ]
    table = pa.concat_tables(tables, promote_options="default")
    table = table.select(sorted(table.column_names, key=ABOUT_ROWS.__contains__))
    return Split(name, table, ", ".join(dict.fromkeys(part.source for _, part in parts)), tuple(names))


def asked_notes(promptings: Sequence[Prompting], names: Sequence[str]) -> list[str]:
    """In which of several forms the saved model is asked; nothing where sources are written alike."""
    if all(prompting == promptings[0] for prompting in promptings):
        return []
    return [f"the saved model is asked in the form of the first source, {names[0]}"]


def with_validation_of_each(
    train: Split, promptings: Sequence[Prompting], spec: DataSpec, seed: int, notes: list[str]
) -> dict[str, Split]:
    """As `with_validation`, of each source its share; rows that belong together are on one side, whatever their source.

    Raises:
        UserError: a size that does not fit, or rows that are all the same.
    """
    if spec.validation_size == 0:
        return nothing_held_out(train, notes)
    parts = {number: part for number, _, part in train.by_source()}
    whole = {number for number, part in parts.items() if len(part) == 1 and promptings[number].kind == "text"}
    mask = np.zeros(len(train), dtype=bool)
    rows = np.flatnonzero(~np.isin(_numbers(train), list(whole)))
    alike: list[str] = []
    if len(rows):
        some = train.with_table(train.table.take(rows))
        keys, alike = _together(some, spec, seed)
        mask[rows] = divided(some, keys, _numbers(some), spec, seed=seed).validation
    kept: list[tuple[str, Split]] = []
    held_out: list[tuple[str, Split]] = []
    lone = []
    for number, numbers, part in train.by_source():
        name, chosen = train.source_names[number], mask[numbers]
        sides = [part.with_table(part.table.filter(booleans(side))) for side in (~chosen, chosen)]
        if number in whole and spec.validation_size < 1:
            sides = [part.with_table(table) for table in cut_end(part, spec)]
        lone += [name] if not len(sides[1]) else []
        kept += [(name, sides[0])] if len(sides[0]) else []
        held_out += [(name, sides[1])] if len(sides[1]) else []
    if not held_out:
        raise UserError(
            f"no row of {len(train)} can be split off for validation: those of each source are all the same",
            where=train.source,
            fix="add rows, or name a data.validation_file",
        )
    splits = {
        "train": joined("train", kept, train.source_names),
        "validation": joined("validation", held_out, train.source_names),
    }
    notes.append(
        f"no validation set: {len(splits['validation']):,} of {len(train):,} training rows split off, of each source"
        f" its share, rows of one prompt on one side (data.validation_size: {spec.validation_size:g}, seed {seed})"
    )
    if alike:
        notes.append(f"sources of too few different prompts for that, of which only equal rows are: {', '.join(alike)}")
    if ends := [train.source_names[number] for number in sorted(whole) if spec.validation_size < 1]:
        notes.append(f"of {', '.join(ends)}, a single document, the end is cut off for validation")
    if lone:
        notes.append(f"sources of which no row is split off, so that nothing is measured on them: {', '.join(lone)}")
    return splits


def _numbers(split: Split) -> np.ndarray:
    assert split.source_numbers is not None, "rows of several sources"
    return split.source_numbers


def _together(split: Split, spec: DataSpec, seed: int) -> tuple[np.ndarray, list[str]]:
    """Keys (N,) of the rows that belong on one side: those of their prompts; and the sources of which too few differ.

    Of these only equal rows are kept together.
    """
    keys, alike = split.prompt_keys.copy(), []
    share = spec.validation_size if spec.validation_size < 1 else spec.validation_size / len(split)
    size = spec.model_copy(update={"validation_size": share})
    for _, rows, part in split.by_source():
        if len(rows) > 1 and share < 1 and divided_by_prompts(part, size, seed=seed) is None:
            keys[rows] = part.keys
            alike += [part.source]
    return keys, alike
