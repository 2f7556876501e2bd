"""A recipe with advice in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.commands.advised import advised_text
from ftkit.diagnosis.verdict import Change
from ftkit.recipe.schema import Recipe
from ftkit.tasks.table import read_recipe, task_rules

CLASSES = "task: classification\nmodel: {name_or_path: a/b}\ndata: {train_file: a.csv}\ntraining: {max_steps: 10}\n"
TEXTS = "task: causal_lm\nmodel: {name_or_path: a/b}\ndata: {train_file: a.csv}\nmethod: {type: full}\n"


def read(text: str) -> Recipe:
    return read_recipe(Path("my.yaml"), text=text, check_files=False).recipe


def advised(text: str, *changes: Change) -> tuple[str, Recipe]:
    """What is written, and what is read from it."""
    written = advised_text(read(text), changes)
    return written, read(written)


@pytest.mark.parametrize("text", [CLASSES, TEXTS])
def test_without_a_change_the_recipe_is_as_it_was_but_for_where_the_run_lies(text: str) -> None:
    written, recipe = advised(text)
    assert "output_dir" not in written
    assert recipe == read(text)


def test_reasons_stand_at_the_top_and_what_only_a_person_can_do_is_said_there() -> None:
    written, recipe = advised(
        CLASSES, Change("training.learning_rate", 0.5, "it is slow"), Change("", None, "look at it")
    )
    head = [
        "# With the advice of ftkit eval:",
        "#   training.learning_rate: 0.5 (it is slow)",
        "#   by hand: look at it",
    ]
    assert written.split("\n")[:4] == [*head, "task: classification"]
    assert recipe.training.learning_rate == 0.5


def test_passes_that_are_advised_take_the_place_of_steps() -> None:
    recipe = advised(CLASSES, Change("training.num_train_epochs", 6, "longer"))[1]
    assert (recipe.training.num_train_epochs, recipe.training.max_steps) == (6, None)


@pytest.mark.parametrize(("text", "method"), [(CLASSES, "lora"), (TEXTS, "prompt_tuning")])
def test_another_method_brings_its_section_and_its_rates_unless_they_are_advised_too(text: str, method: str) -> None:
    change = Change("method.type", method, "less is trained")
    recipe = advised(text, change, Change("training.warmup_steps", 0.5, "gently"))[1]
    defaults = task_rules()[recipe.task].methods[method]
    assert recipe.method.type == method
    assert recipe.training.learning_rate == defaults["training.learning_rate"]
    assert recipe.training.weight_decay == defaults["training.weight_decay"]
    assert recipe.training.warmup_steps == 0.5


def test_a_key_that_the_task_does_not_read_is_advised_in_the_comment_alone() -> None:
    written, recipe = advised(TEXTS, Change("training.class_weights", "balanced", "one class outweighs"))
    assert written.count("class_weights") == 1
    assert recipe == read(TEXTS)
