"""The width of an interval is foretold as the bootstrap finds it."""

from __future__ import annotations

import numpy as np
import pytest

from ftkit.metrics.bootstrap import Bootstrap, ratio
from ftkit.metrics.margin import WIDEST_SHARE, margin_of_error, rows_for_margin, spread_of_ratio


@pytest.mark.parametrize("seed", range(3))
def test_the_margin_of_a_mean_over_tokens_is_half_of_its_bootstrap_interval(seed: int) -> None:
    random = np.random.default_rng(seed)
    tokens = random.integers(1, 60, 800).astype(np.float64)
    nats = tokens * random.gamma(4.0, 0.5, 800)
    entry = ratio(np.stack([nats, tokens], axis=1), why_undefined="").entry(Bootstrap(2000, seed))
    half = (float(entry["high"]) - float(entry["low"])) / 2  # type: ignore[arg-type]
    assert margin_of_error(spread_of_ratio(nats, tokens), 800) == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("margin", [0.3, 0.05, 0.013])
def test_the_rows_for_a_margin_are_the_fewest_that_reach_it(margin: float) -> None:
    rows = rows_for_margin(WIDEST_SHARE, margin)
    assert margin_of_error(WIDEST_SHARE, rows) <= margin < margin_of_error(WIDEST_SHARE, max(1, rows - 1))


def test_no_share_is_spread_wider_than_one_of_halves() -> None:
    hits = np.array([0.0, 1.0] * 500)
    assert spread_of_ratio(hits, np.ones(1000)) == pytest.approx(WIDEST_SHARE, rel=1e-3)
