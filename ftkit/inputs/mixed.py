"""Sequences of several sources, each made in its own form, end to end in one set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.inputs.encoding import offsets_of
from ftkit.inputs.examples import Rows
from ftkit.inputs.sequences import Sequences, Tokenized


def of_each_source(split: Split, splits: Splits, tokenize: Callable[[Split, Prompting], Tokenized]) -> Tokenized:
    """Tokenize the rows of each source as they are written there.

    Args:
        split: of these.
        splits: know how the rows of each source become what a language model reads.
        tokenize: (rows of one source, how they are written) -> their sequences.
    """
    parts = [(rows, tokenize(part, splits.prompting_of(number))) for number, rows, part in split.by_source()]
    return parts[0][1] if not split.source_names else _joined(parts)


def _joined(parts: Sequence[tuple[Rows, Tokenized]]) -> Tokenized:
    """The sequences of some rows of a split (n,) and of others, one behind the other."""
    sequences = [replace(found.sequences, rows=rows[found.sequences.rows]) for rows, found in parts]
    tokenized = [found for _, found in parts]
    none = np.zeros(0, dtype=np.int64)
    return Tokenized(
        _end_to_end(sequences),
        np.concatenate([found.lengths for found in tokenized]),
        tokenized[0].max_length,
        num_truncated=sum(found.num_truncated for found in tokenized),
        num_unlearnt=sum(found.num_unlearnt for found in tokenized),
        num_merged_boundaries=sum(found.num_merged_boundaries for found in tokenized),
        num_repeated=sum(found.num_repeated for found in tokenized),
        # what they count is kept; their tokens are not held twice
        parts=tuple(replace(found, sequences=found.sequences.take(none)) for found in tokenized),
    )


def _end_to_end(some: Sequence[Sequences]) -> Sequences:
    return replace(
        some[0],
        ids=np.concatenate([one.ids for one in some]),
        learnt=np.concatenate([one.learnt for one in some]),
        begins=np.concatenate([one.begins for one in some]),
        num_bytes=np.concatenate([one.num_bytes for one in some]),
        special=np.concatenate([one.special for one in some]),
        offsets=offsets_of(np.concatenate([one.lengths for one in some])),
        rows=np.concatenate([one.rows for one in some]),
    )
