"""Runs of encoder-decoders that are only looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftkit.training.outcome import TrainResult

TUNED = {
    "full": {"training__learning_rate": 1e-2},
    "lora": {"training__learning_rate": 3e-2},
    "prompt_tuning": {"training__learning_rate": 0.3, "method__num_virtual_tokens": 4},
    "prefix_tuning": {"training__learning_rate": 1.0, "method__num_virtual_tokens": 4},
}
"""Rates at which four steps are enough to change what a tiny model writes."""


@pytest.fixture(scope="session")
def pair_runs(
    pair_recipe: Callable[..., TrainResult], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., TrainResult]:
    """A run for each family and method, trained when it is first asked for, only looked at."""
    folder = tmp_path_factory.mktemp("pairs")
    made: dict[str, Any] = {}

    def run(family: str, method: str) -> Any:
        name = f"{family}-{method}"
        if name not in made:
            made[name] = pair_recipe(folder, name, family=family, method__type=method, **TUNED[method])
        return made[name]

    return run
