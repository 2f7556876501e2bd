"""What a trial is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.commands.trials import usual_rate
from ftkit.recipe.keys import METHODS
from ftkit.tasks.table import read_recipe

RECIPE = """\
task: classification
model: {name_or_path: builtin:tiny-bert}
method: {type: lora}
data: {train_file: train.csv}
"""


@pytest.mark.parametrize(
    ("method", "parameters", "rate"),
    [
        ("full", 110_000_000, 2e-5),
        ("full", 1_100_000, 2e-4),
        ("lora", 1_100_000, 2e-3),
        ("full", 7_000_000_000, 2e-5),
        ("frozen", 1_100_000, 1e-2),
        ("full", 0, 2e-5),
    ],
)
def test_the_usual_rate_is_the_default_times_how_much_narrower_a_model_is_where_that_is_known(
    method: str, parameters: int, rate: float
):
    recipe = read_recipe(Path("recipe.yaml"), text=RECIPE, check_files=False).recipe
    assert usual_rate(recipe, METHODS[method].model_construct(type=method), parameters) == pytest.approx(rate)
