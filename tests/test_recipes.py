"""Every recipe that comes with ftkit is valid and goes the whole way."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.commands.smoke.smoke import smoke_test
from ftkit.tasks.table import read_recipe, task_rules
from tests.fixtures.tiers import slow_but

RECIPES = sorted((Path(__file__).parents[1] / "recipes").rglob("*.yaml"))


def test_there_are_recipes_for_every_method_of_every_task():
    recipes = [read_recipe(path).recipe for path in RECIPES]
    assert {(recipe.task, recipe.method.type) for recipe in recipes} == {
        (task, method) for task, rules in task_rules().items() for method in rules.methods
    }


TRIED = ("text-pairs", "classify-lora", "replay", "causal-lm-lora", "seq2seq-prompt-tuning")


@pytest.mark.parametrize(
    "path", slow_but([path for path in RECIPES if path.stem in TRIED], RECIPES), ids=lambda path: path.stem
)
def test_a_recipe_that_comes_with_ftkit_passes_its_smoke_test(path):
    lines = smoke_test(path, new_process=False)
    assert lines[0].startswith("smoke test passed")
    assert any("trained: method" in line and "2 steps" in line for line in lines)
