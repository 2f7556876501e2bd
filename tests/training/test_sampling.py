"""Which rows share a batch, and in which order they come."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ftkit.data.mixture.shares import Mixing
from ftkit.training.sampling import LengthGroupedEpochs, MixedEpochs, ShuffledEpochs, TokenBudgetBatches

LENGTHS = [random.Random(row).randrange(1, 60) for row in range(500)]
SIDES = np.array([[length, random.Random(-row).randrange(1, 30)] for row, length in enumerate(LENGTHS, 1)])
"""Tokens of sources, and of targets that do not go along with them."""


@pytest.mark.parametrize("padded", [True, False])
def test_batches_counted_in_tokens_hold_every_row_once_and_never_too_many_tokens(padded: bool) -> None:
    batches = list(TokenBudgetBatches(LENGTHS, max_tokens=128, seed=1, padded=padded))
    assert Counter(row for batch in batches for row in batch) == Counter(range(500))
    for batch in batches:
        lengths = [LENGTHS[row] for row in batch]
        assert (max(lengths) * len(lengths) if padded else sum(lengths)) <= 128
    # no batch could have taken the first row of the next in the order in which they were filled
    assert len(batches) <= 2 * sum(LENGTHS) / 128


@pytest.mark.parametrize("padded", [True, False])
def test_both_sides_of_a_row_count_each_padded_for_itself(padded: bool) -> None:
    batches = list(TokenBudgetBatches(SIDES, max_tokens=256, seed=1, padded=padded))
    assert Counter(row for batch in batches for row in batch) == Counter(range(500))
    for batch in batches:
        sides = SIDES[batch]
        assert (sides.max(axis=0).sum() * len(batch) if padded else sides.sum()) <= 256
    # of which a tenth and less is padding, and the last rows of a batch that was full
    assert len(batches) <= 1.25 * SIDES.sum() / 256


def test_rows_that_are_alike_in_both_sides_come_together() -> None:
    def padding(batches: list[list[int]]) -> int:
        return sum(int(SIDES[batch].max(axis=0).sum() * len(batch) - SIDES[batch].sum()) for batch in batches)

    batches = list(TokenBudgetBatches(SIDES, max_tokens=512, seed=1, padded=True))
    by_source = np.argsort(SIDES[:, 0], kind="stable").tolist()
    assert padding(batches) < 0.7 * padding([by_source[start : start + 12] for start in range(0, 500, 12)])


def test_rows_of_one_side_are_batched_as_rows_of_a_number() -> None:
    numbers, columns = (
        TokenBudgetBatches(lengths, max_tokens=128, seed=4, padded=True).batches
        for lengths in (LENGTHS, np.array(LENGTHS)[:, None])
    )
    assert numbers == columns


def test_a_pair_longer_than_the_budget_gets_a_batch_of_its_own() -> None:
    sides = np.array([[5, 5], [12, 12], [5, 5], [15, 4]])
    batches = list(TokenBudgetBatches(sides, max_tokens=20, seed=0, padded=True))
    assert sorted(map(sorted, batches)) == [[0, 2], [1], [3]]


def test_a_row_longer_than_the_budget_gets_a_batch_of_its_own() -> None:
    batches = list(TokenBudgetBatches([5, 300, 5], max_tokens=20, seed=0, padded=False))
    assert [1] in batches
    assert sorted(row for batch in batches for row in batch) == [0, 1, 2]


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("lengths", [LENGTHS, SIDES], ids=["one side", "two sides"])
def test_epochs_have_as_many_batches_in_another_order(lengths: Any, padded: bool) -> None:
    sampler = TokenBudgetBatches(lengths, max_tokens=256, seed=3, padded=padded)
    orders = []
    for epoch in (0, 1, 0):
        sampler.sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert len(orders[0]) == len(orders[1]) == len(sampler)
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]
    assert sorted(map(tuple, orders[0])) == sorted(map(tuple, orders[1]))


def test_a_shuffled_epoch_is_a_permutation_that_seed_and_epoch_alone_decide() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = ShuffledEpochs(200, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(0, 0)) == list(range(200))
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(2, 1) == order(2, 1)


def test_length_grouped_epochs_put_like_lengths_together() -> None:
    sampler = LengthGroupedEpochs(LENGTHS, batch_size=10, seed=0)
    order = list(sampler)
    spread = [max(part) - min(part) for part in _batches([LENGTHS[row] for row in order])]
    random_order = _batches(random.Random(0).sample(LENGTHS, 500))
    assert sum(spread) < 0.5 * sum(max(part) - min(part) for part in random_order)


def _batches(lengths: list[int]) -> list[list[int]]:
    return [lengths[start : start + 10] for start in range(0, len(lengths), 10)]


@pytest.mark.parametrize("by_length", [False, True])
def test_epochs_of_mixed_sources_keep_their_shares_and_are_found_again(by_length):
    sources = np.repeat([0, 1, 2], [50, 20, 10])
    mixing = Mixing(("a", "b", "c"), sources, (1.0, 1.0, 2.0))
    lengths = np.arange(80) % 7 if by_length else None
    sampler = MixedEpochs(mixing, lengths, batch_size=8, seed=1)
    orders = []
    for epoch in (0, 1, 2, 1):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert np.bincount(sources[orders[-1]]).tolist() == [20, 20, 40]
    assert orders[1] == orders[3] != orders[2]
    # ten examples of the third source are learnt forty times an epoch, each as often as every other
    assert set(np.bincount(np.array(orders[0])[sources[orders[0]] == 2])[70:].tolist()) == {4}
