"""Intervals held against formulas and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from ftkit.diagnosis.intervals import (
    above_train,
    difference,
    holm,
    mean_loss,
    membership,
    p_rate_above,
    pace,
    paired_rise,
    rate_bounds,
    rows_needed,
)
from ftkit.metrics.scores import Scores
from tests.diagnosis.conftest import losses


def test_a_paired_rise_has_the_standard_error_of_the_differences():
    before, after = losses(2.0, 500, seed=1), losses(2.0, 500, seed=2)
    apart = (after.nll - before.nll) / before.num_targets
    rise = paired_rise(after, before)
    assert rise.value == pytest.approx(apart.mean())
    assert rise.high - rise.low == pytest.approx(2 * 1.96 * apart.std() / 500**0.5, rel=0.1)


def test_a_constant_shift_has_no_width_however_unlike_the_examples_are():
    rise = paired_rise(losses(2.5, seed=1, spread=3.0), losses(2.0, seed=1, spread=3.0))
    assert (rise.low, rise.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_losses_of_other_examples_are_refused():
    with pytest.raises(ValueError, match="same examples"):
        paired_rise(losses(1.0, 10), losses(1.0, 11))


def test_groups_that_repeat_their_rows_widen_the_interval():
    single = losses(2.0, 100, seed=1)
    rows = np.repeat(np.arange(100), 9)
    many = single.take(rows)
    apart, together = mean_loss(many), mean_loss(many, groups=rows)
    assert together.high - together.low == pytest.approx(3 * (apart.high - apart.low), rel=0.15)


def test_the_difference_of_two_sets_adds_their_variances():
    one, other = mean_loss(losses(2.0, 400, seed=1)), mean_loss(losses(1.0, 400, seed=2))
    both = difference(one, other)
    widths = [estimate.high - estimate.low for estimate in (one, other, both)]
    assert widths[2] == pytest.approx((widths[0] ** 2 + widths[1] ** 2) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("rows", "variances"), [(40, 1), (499, 1), (500, 2)])
def test_a_training_set_that_is_probed_whole_adds_no_variance_to_what_lies_above_it(rows: int, variances: int):
    validation, train = losses(2.0, 500, seed=1), losses(1.5, rows, seed=2)
    above = above_train(validation, train)
    assert above.value == pytest.approx(validation.loss - train.loss)
    assert above.high - above.low == pytest.approx(2 * 1.96 * 0.3 * (variances / 500) ** 0.5, rel=0.12)


@pytest.mark.parametrize("constants", [2.0, 4.0])
def test_the_pace_of_an_exponential_is_that_of_its_formula(constants: float):
    def at(share: float) -> Scores:
        return losses(1 + np.exp(-constants * share), seed=1)

    end = np.exp(-constants)
    expected = (np.exp(-constants / 2) - end) / (1 - end) / 0.5
    assert pace(at(0), at(0.5), at(1), share_left=0.5).value == pytest.approx(expected)


def test_membership_of_shifted_normals_is_the_area_of_the_binormal_curve():
    grid = norm.ppf((np.arange(2_000) + 0.5) / 2_000)
    area = membership(grid, grid + 1)
    assert area.value == pytest.approx(norm.cdf(1 / 2**0.5), abs=1e-3)
    assert area.low < area.value < area.high


def test_membership_counts_ties_as_halves():
    assert membership(np.zeros(50), np.zeros(50)).value == 0.5


@pytest.mark.parametrize(("count", "n"), [(0, 30), (3, 30), (30, 30)])
def test_rates_have_scipys_exact_intervals(count: int, n: int):
    low, high = binomtest(count, n).proportion_ci(0.95, "exact")
    assert rate_bounds(count, n) == (pytest.approx(low), pytest.approx(high))
    assert p_rate_above(count, n, 0.05) == pytest.approx(binomtest(count, n, 0.05, "greater").pvalue)


def test_holm_rejects_no_more_than_its_level_when_nothing_is_there():
    random = np.random.default_rng(1)
    wrong = [bool(holm({str(k): p for k, p in enumerate(random.random(10))}, level=0.05)) for _ in range(2_000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)


def test_twice_as_narrow_takes_four_times_the_rows():
    estimate = mean_loss(losses(1.0, 100, seed=1))
    half = (estimate.high - estimate.low) / 2
    needed = rows_needed(estimate, estimate.value - half / 2)
    assert needed == pytest.approx(400, rel=0.03)
