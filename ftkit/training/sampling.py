"""Examples of like length together, in an order that a resumed run finds again; and the state of all randomness."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import BatchSampler, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from ftkit.data.mixture.shares import Mixing
from ftkit.inputs.batching import by_both_lengths


def epoch_generator(*, seed: int, epoch: int) -> torch.Generator:
    """Randomness of one epoch, from seed and epoch alone."""
    # torch's generator on the CPU looks at 32 bits of its seed only, so the two are mixed into as many
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1)[0]
    return torch.Generator().manual_seed(int(mixed))


@dataclass(eq=False, kw_only=True)
class _Epochs(Sampler[int]):
    """An order anew each epoch, which depends on seed and epoch alone."""

    seed: int
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the data loader calls it."""
        self.epoch = epoch


@dataclass(eq=False)
class ShuffledEpochs(_Epochs):
    """The numbers below `num_rows`, shuffled anew each epoch; the order depends on seed and epoch alone."""

    num_rows: int

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[int]:
        order: list[int] = torch.randperm(
            self.num_rows, generator=epoch_generator(seed=self.seed, epoch=self.epoch)
        ).tolist()
        return iter(order)


class TokenBudgetBatches(BatchSampler):
    """Batches of as many rows as a number of tokens allows, in an order shuffled anew each epoch.

    Which rows share a batch is drawn once, so that every epoch has the same number of steps.

    Args:
        lengths: tokens of each row, (N,); or (N, 2) where a row has two sides that are padded each for itself, such as
            source and target.
        max_tokens: most tokens of a batch, all sides together; a longer row gets one of its own.
        seed: of every draw.
        padded: whether rows are padded to the longest of their batch, which then counts.
    """

    def __init__(
        self, lengths: Sequence[int] | npt.NDArray[np.int64], *, max_tokens: int, seed: int, padded: bool
    ) -> None:
        sides = np.asarray(lengths, dtype=np.int64).reshape(len(lengths), -1)
        order = torch.randperm(len(sides), generator=epoch_generator(seed=seed, epoch=0)).numpy()
        if padded:
            # padding costs least where lengths are alike; the shuffle before keeps equal lengths in random order
            shuffled = sides[order]
            alike = shuffled[:, 0].argsort(kind="stable")
            if sides.shape[1] == 2:
                alike = by_both_lengths(shuffled[:, 0], shuffled[:, 1], max_tokens)
            order = order[alike]
        self.batches = list(_fill(order.tolist(), sides.tolist(), max_tokens=max_tokens, padded=padded))
        super().__init__(ShuffledEpochs(len(self.batches), seed=seed), batch_size=1, drop_last=False)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (self.batches[number] for number in self.sampler)


def _fill(
    order: Sequence[int], lengths: Sequence[Sequence[int]], *, max_tokens: int, padded: bool
) -> Iterator[list[int]]:
    batch: list[int] = []
    used, longest = 0, [0] * len(lengths[0]) if lengths else []
    for row in order:
        longest_then = [max(pair) for pair in zip(longest, lengths[row], strict=True)]
        used_then = sum(longest_then) * (len(batch) + 1) if padded else used + sum(lengths[row])
        if batch and used_then > max_tokens:
            yield batch
            batch, longest_then = [], list(lengths[row])
            used_then = sum(longest_then)
        batch.append(row)
        used, longest = used_then, longest_then
    if batch:
        yield batch


@dataclass(eq=False)
class LengthGroupedEpochs(_Epochs):
    """Row numbers, shuffled anew each epoch with rows of like length near one another.

    The order depends on seed and epoch alone. Trainer's own sampler draws from the global random state, which by a
    second epoch has gone through every dropout mask before, so a run resumed there would see other batches.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a step.
        seed: of every order.
    """

    lengths: Sequence[int]
    batch_size: int

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]
            self.lengths, self.batch_size, generator=epoch_generator(seed=self.seed, epoch=self.epoch)
        )
        return iter(order)


@dataclass(eq=False)
class MixedEpochs(_Epochs):
    """Numbers of the examples of sources that are mixed by weight, shuffled; the order depends on seed and epoch alone.

    Args:
        mixing: says which examples an epoch has.
        lengths: tokens of each example (N,), where like lengths are to be near one another; else None.
        batch_size: examples of a step.
        seed: of every draw and order.
    """

    mixing: Mixing
    lengths: npt.NDArray[np.int64] | None
    batch_size: int

    def __len__(self) -> int:
        return len(self.mixing.sources)

    def __iter__(self) -> Iterator[int]:
        drawn = self.mixing.drawn(seed=self.seed, epoch=self.epoch)
        order: _Epochs = ShuffledEpochs(len(drawn), seed=self.seed, epoch=self.epoch)
        if self.lengths is not None:
            lengths = self.lengths[drawn].tolist()
            order = LengthGroupedEpochs(lengths, self.batch_size, seed=self.seed, epoch=self.epoch)
        return (int(drawn[place]) for place in order)


def random_state() -> tuple[Any, ...]:
    """States of Python's, NumPy's and torch's generators, and of every accelerator's."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), devices


def restore(state: tuple[Any, ...]) -> None:
    """Go back to a state that `random_state` gave."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if state[3]:
        torch.cuda.set_rng_state_all(state[3])


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave no trace in the random state, whatever a model in eval mode draws."""
    state = random_state()
    try:
        yield
    finally:
        restore(state)
