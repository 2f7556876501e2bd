"""Training rows that stand in the data already: earlier in the training set, or in a set that measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split, booleans
from ftkit.data.labels import shortened
from ftkit.errors import UserError


def without_repeats(splits: Mapping[str, Split], notes: list[str], *, names: Sequence[str] = ()) -> dict[str, Split]:
    """Leave out training rows that repeat an earlier one, or that stand in validation or test.

    The whole example is compared, but for case, spacing and Unicode form; labels are not. Validation and test stay as
    they are. Notes are added on how many rows are left out, and why.

    Raises:
        UserError: no training row is left.
    """
    train = splits["train"]
    held_out = [split.keys for name, split in splits.items() if name != "train"]
    measured = np.isin(train.keys, np.concatenate(held_out)) if held_out else np.zeros(len(train), dtype=bool)
    _, first = np.unique(train.keys, return_index=True)
    repeated = np.ones(len(train), dtype=bool)
    repeated[first] = False
    kept = ~(measured | repeated)
    if kept.all():
        return dict(splits)
    if not kept.any():
        raise UserError(
            f"every one of {len(train):,} training rows stands in validation or test (data.drop_duplicates)",
            where=train.source,
            fix="name other files for training, validation and test",
        )
    smaller = train.with_table(train.table.filter(booleans(kept)))
    if "label" in train.table.column_names and (others := _labelled_otherwise(train, repeated)):
        notes.append(
            f"warning: {others:,} of the training rows left out have another label than the row that is kept: at most "
            "one of the two can be right"
        )
    notes.append(
        f"{int((~kept).sum()):,} of {len(train):,} training rows left out: {int(measured.sum()):,} stand in a set that"
        f" measures, {int((repeated & ~measured).sum()):,} repeat an earlier row (data.drop_duplicates)"
    )
    note_lost(train, smaller, names, notes, what="training")
    return {**splits, "train": smaller}


def _labelled_otherwise(train: Split, repeated: npt.NDArray[np.bool_]) -> int:
    """How many repeated rows have another label than the first of their text."""
    _, first, owner = np.unique(train.keys, return_index=True, return_inverse=True)
    return int((repeated & (train.labels != train.labels[first][owner])).sum())


def note_lost(split: Split, smaller: Split, names: Sequence[str], notes: list[str], *, what: str) -> None:
    """Add the labels, if there are any, that no row of a split has any more."""
    if not names or smaller is split:
        return
    if lost := sorted(set(np.unique(split.labels).tolist()) - set(np.unique(smaller.labels).tolist())):
        notes.append(f"labels without a {what} row after that: {shortened([names[label] for label in lost])}")
