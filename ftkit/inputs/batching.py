"""Which rows go through a model together, so that little or nothing of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ftkit.inputs.examples import Rows
from ftkit.interruption import STOP
from ftkit.metrics.scores import IGNORED

if TYPE_CHECKING:
    from ftkit.inputs.pairs import Pairs
    from ftkit.inputs.sequences import Sequences


def exact_length_batches(lengths: Rows, *, max_tokens: int) -> Iterator[Rows]:
    """Group rows of the same length (N,), longest first, so that a batch holds no padding at all.

    A single row that is longer than max_tokens still gets a batch of its own.

    Example:
        >>> [batch.tolist() for batch in exact_length_batches(np.array([3, 2, 3, 3]), max_tokens=6)]
        [[0, 2], [3], [1]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        length = int(lengths[order[start]])
        most = max(1, max_tokens // max(length, 1))
        stop = start
        while stop < len(order) and stop - start < most and lengths[order[stop]] == length:
            stop += 1
        yield order[start:stop]
        start = stop


def chunks(num_rows: int, *, size: int) -> Iterator[slice]:
    """Cut `num_rows` rows into consecutive slices of at most `size`.

    Example:
        >>> list(chunks(5, size=2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, num_rows, size):
        STOP.poll()
        yield slice(start, min(start + size, num_rows))


def token_budget_batches(lengths: Rows, *, max_tokens: int) -> Iterator[Rows]:
    """Group rows by length (N,), longest first, so that a padded batch has at most max_tokens, padding included.

    A single longer row still gets a batch of its own.

    Example:
        >>> [batch.tolist() for batch in token_budget_batches(np.array([1, 5, 2, 3]), max_tokens=6)]
        [[1], [3, 2], [0]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, max_tokens // max(int(lengths[order[start]]), 1))
        yield order[start:stop]
        start = stop


def flat_batch(sequences: Sequences, rows: Rows) -> dict[str, npt.NDArray[np.int64]]:
    """Some sequences end to end in one row, without padding.

    input_ids, labels (-100 where a token is no target) and position_ids, each (1, T); positions restart where a
    document begins, which tells a model where attention may not look back.
    """
    chosen = sequences.take(rows)
    place = np.arange(len(chosen.ids))
    start = np.maximum.accumulate(np.where(chosen.begins, place, 0))
    ids = chosen.ids.astype(np.int64)
    labels = np.where(chosen.learnt, ids, IGNORED)
    return {"input_ids": ids[None], "labels": labels[None], "position_ids": (place - start)[None]}


def padded_batch(sequences: Sequences, rows: Rows, *, pad_id: int) -> dict[str, npt.NDArray[np.int64]]:
    """Some sequences, each of one document, one below the other, padded on the right.

    input_ids, attention_mask and labels (-100 where a token is no target), each (B, T). Labels are masked by position,
    so that pad_id may be the end token as well.

    Raises:
        ValueError: a sequence in which a second document begins, which would see the first.
    """
    chosen = sequences.take(rows)
    if int(chosen.begins.sum()) != len(chosen):
        raise ValueError("blocks of several documents go into flat_batch, where attention keeps them apart")
    ids, mask = padded(chosen.ids, chosen.lengths, pad_id)
    labels, _ = padded(np.where(chosen.learnt, chosen.ids, IGNORED), chosen.lengths, IGNORED)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def pair_batch(pairs: Pairs, rows: Rows, *, pad_id: int) -> dict[str, npt.NDArray[np.int64]]:
    """Sources and targets of some pairs one below the other, padded on the right.

    input_ids and attention_mask (B, S), labels (B, T), -100 behind the end of a target.
    """
    chosen = pairs.take(rows)
    ids, mask = padded(chosen.source_ids, chosen.source_lengths, pad_id)
    labels, _ = padded(chosen.target_ids, chosen.target_lengths, IGNORED)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def padded(
    flat: npt.ArrayLike, lengths: Rows, fill: int, *, on_the_left: bool = False
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of so many numbers (B,) that lie end to end, one below the other; and where there are any: (B, T) both."""
    mask = np.arange(lengths.max()) < lengths[:, None]
    if on_the_left:
        mask = mask[:, ::-1]
    rows = np.full(mask.shape, fill, dtype=np.int64)
    rows[mask] = flat
    return rows, mask.astype(np.int64)


def pair_budget_batches(source_lengths: Rows, target_lengths: Rows, *, max_tokens: int) -> Iterator[Rows]:
    """Group pairs so that a padded batch has at most max_tokens, sources, targets and padding together.

    Batches of 8,192 tokens of 4,000 pairs hold 6 to 8% of padding in that order; sorted by the target and then by the
    source it is 6 to 24% (Multi30k, E2E and SCAN with two tokenizers). The order is from long targets (N,) to short
    ones, by and large; a single longer pair still gets a batch of its own.

    Example:
        >>> sources, targets = np.array([9, 1, 2, 8]), np.array([2, 2, 2, 2])
        >>> [batch.tolist() for batch in pair_budget_batches(sources, targets, max_tokens=22)]
        [[0, 3], [2, 1]]
    """
    order = by_both_lengths(source_lengths, target_lengths, max_tokens)
    sources, targets = source_lengths[order].tolist(), target_lengths[order].tolist()
    start = longest_source = longest_target = 0
    for stop, (source, target) in enumerate(zip(sources, targets, strict=True)):
        longest_source, longest_target = max(longest_source, source), max(longest_target, target)
        if stop > start and (longest_source + longest_target) * (stop + 1 - start) > max_tokens:
            yield order[start:stop]
            start, longest_source, longest_target = stop, source, target
    if start < len(order):
        yield order[start:]


def by_both_lengths(sources: Rows, targets: Rows, max_tokens: int) -> Rows:
    """An order in which neighbours are alike in both lengths; pairs that are equal in both keep theirs.

    Pairs are sorted by their targets and cut into bands of as many tokens each; within a band they are sorted by their
    sources, downwards and upwards in turn. More bands make targets more alike, fewer make sources; the two paddings
    are about the same for sqrt(2 B t / s) bands, with B batches and standard deviations s and t of the lengths (N,).
    """
    order = np.lexsort((-sources, -targets))
    tokens = np.cumsum((sources + targets)[order])
    total = max(1, int(tokens[-1])) if len(tokens) else 1
    # half a token more, since lengths that are all the same have no deviation
    spread = (targets.std() + 0.5) / (sources.std() + 0.5) if len(tokens) else 1.0
    num_bands = max(1, round(float(np.sqrt(2 * total / max_tokens * spread))))
    bands = np.empty_like(order)
    bands[order] = (tokens - 1) * num_bands // total
    return np.lexsort((np.where(bands % 2 == 0, -sources, sources), bands))
