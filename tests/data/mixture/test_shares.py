"""Sources mixed by weight: the arithmetic of an epoch, and what is drawn over epochs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.mixture.shares import Mixing, shares_of

COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=4)


def mixing(counts: list[int], weights: list[float]) -> Mixing:
    sources = np.repeat(np.arange(len(counts)), counts)
    return Mixing(tuple(f"s{number}" for number in range(len(counts))), sources, tuple(weights))


@given(COUNTS, st.data())
def test_an_epoch_has_as_many_examples_as_there_are_and_each_source_its_share(counts: list[int], data: st.DataObject):
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(counts), max_size=len(counts)))
    shares, total = shares_of(counts, weights), sum(counts)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - total * weight / sum(weights)) < 1


@given(COUNTS, st.data())
def test_each_example_of_a_source_is_drawn_as_often_as_every_other_or_once_more(counts: list[int], data: st.DataObject):
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(counts), max_size=len(counts)))
    mixed, epochs = mixing(counts, weights), data.draw(st.integers(1, 5))
    drawn = np.concatenate([mixed.drawn(seed=3, epoch=epoch) for epoch in range(epochs)])
    times = np.bincount(drawn, minlength=sum(counts))
    for number, share in enumerate(mixed.an_epoch):
        of_source = times[mixed.sources == number]
        assert of_source.sum() == share * epochs
        assert of_source.max() - of_source.min() <= 1


def test_what_is_drawn_depends_on_seed_and_epoch_alone():
    mixed = mixing([30, 10], [1, 1])
    one = mixed.drawn(seed=1, epoch=4)
    assert np.array_equal(one, mixing([30, 10], [1, 1]).drawn(seed=1, epoch=4))
    assert not np.array_equal(one, mixed.drawn(seed=2, epoch=4))
    assert not np.array_equal(one, mixed.drawn(seed=1, epoch=5))


def test_a_source_without_examples_gives_none_and_its_share_goes_to_the_others():
    assert shares_of([6, 0, 2], [1, 5, 1]) == [4, 0, 4]


def test_what_is_said_counts_passes():
    mixed = mixing([30, 10], [1, 1])
    assert mixed.lines()[1] == "s1: 50.0% of an epoch, 20 of 40 examples; it has 10, each learnt 2 times an epoch"
    assert mixed.facts()["s0"]["passes_an_epoch"] == pytest.approx(0.6667)
