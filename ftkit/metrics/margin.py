"""How many rows an interval of some width takes, before they are scored."""

from __future__ import annotations

import math

import numpy as np

from ftkit.metrics.scores import Floats

Z = 1.959963984540054
"""Standard errors from the value to either end of a 95 % interval."""
WIDEST_SHARE = 0.5
"""Standard deviation of a number between 0 and 1, at most."""


def spread_of_ratio(above: Floats, below: Floats) -> float:
    """Standard error of a ratio of sums over N rows, times the root of N: what N brings down.

    Args:
        above: what is summed above (N,), such as nats.
        below: what is summed below (N,), such as tokens, not all zero.

    Source:
        Cochran 1977, Sampling Techniques, 6.4: the linearised variance of a ratio.

    Example:
        >>> spread_of_ratio(np.array([1.0, 3.0]), np.ones(2)) == float(np.std([1, 3], ddof=1))
        True
    """
    residuals = above - below * (above.sum() / below.sum())
    return float(np.sqrt((residuals**2).sum() / max(1, len(above) - 1)) / below.mean())


def margin_of_error(spread: float, num_rows: int) -> float:
    """Half the width of the 95 % interval over so many rows."""
    return Z * spread / math.sqrt(num_rows)


def rows_for_margin(spread: float, margin: float) -> int:
    """Rows whose 95 % interval is no wider than that to either side.

    Example:
        >>> rows_for_margin(0.5, 0.03)
        1068
    """
    return max(1, math.ceil((Z * spread / margin) ** 2))
