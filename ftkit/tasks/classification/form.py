"""The `data` part of a recipe to splits of texts and labels."""

from __future__ import annotations

from collections.abc import Callable

from ftkit.data.dataset import Splits
from ftkit.data.gather import (
    Source,
)
from ftkit.data.labelled import load_labelled
from ftkit.recipe.schema import DataSpec


def load_splits(spec: DataSpec, *, seed: int, narrow: Callable[[Source], Source] | None = None) -> Splits:
    """Read, check and split the data of a recipe.

    Args:
        spec: where the examples are; paths absolute or relative to the working directory.
        seed: decides which rows are split off for validation, and which are drawn by the max_..._samples keys.
        narrow: makes each source one that is read in part.

    Returns:
        The splits, with notes on everything that was assumed.

    Raises:
        UserError: anything about the data that a person can mend, with `file:line` where it has a place.
    """
    return load_labelled(spec, seed=seed, narrow=narrow)[0]
