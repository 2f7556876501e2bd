"""A recipe written out and read back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import RecipeError
from ftkit.methods.full import FullMethod
from ftkit.methods.lora import LoraMethod
from ftkit.recipe.dump import changed, dump_recipe
from ftkit.recipe.parse import recipe_from_values
from ftkit.recipe.yaml.nodes import Place, compose, plain_value
from ftkit.recipe.yaml.scalars import write_value
from ftkit.tasks.table import read_recipe, task_rules
from tests.recipe.broken_recipes import VALID

REPOSITORY = Path(__file__).parents[2]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | TEXT


def read_back(text: str) -> object:
    node, flaws = compose(f"key: {text}\n", lambda line, column: Place(0, line, column))
    assert node is not None, flaws
    assert not flaws, flaws
    return plain_value(node)["key"]


@given(SCALARS | st.lists(SCALARS) | st.dictionaries(TEXT, SCALARS))
def test_any_value_is_read_back_as_it_was_written(value: object) -> None:
    back = read_back(write_value(value))
    assert back == value
    assert isinstance(back, bool) == isinstance(value, bool)


def test_what_is_no_number_is_read_back_too() -> None:
    assert math.isnan(float(str(read_back(write_value(math.nan)))))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_survives_being_written_out(tmp_path: Path, path: Path) -> None:
    recipe = read_recipe(path).recipe
    (tmp_path / "resolved.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "resolved.yaml").recipe == recipe


@pytest.mark.parametrize("text", VALID)
@pytest.mark.parametrize("overrides", [(), ("training.max_steps=3", "training.seed=1", "training.warmup_steps=0.5")])
def test_so_do_recipes_with_every_kind_of_value(tmp_path: Path, text: str, overrides: tuple[str, ...]) -> None:
    (tmp_path / "train.csv").touch()
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    recipe = read_recipe(tmp_path / "my.yaml", overrides).recipe
    (tmp_path / "resolved.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "resolved.yaml").recipe == recipe


@pytest.mark.parametrize("text", VALID)
def test_the_settings_of_a_recipe_are_read_back_to_an_equal_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.csv").touch()
    recipe = read_recipe(tmp_path / "my.yaml", text=text).recipe
    values = {"task": recipe.task, **recipe.settings()}
    assert recipe_from_values(values, tmp_path / "my.yaml", tasks=task_rules()) == recipe


def test_what_is_no_recipe_is_told_of_values_as_of_a_text(tmp_path: Path) -> None:
    values = {"task": "seq2seq", "model": {"name_or_path": "a/b"}, "data": {"train_fil": "a.csv"}}
    with pytest.raises(RecipeError, match=r"data\.train_fil: no such key; did you mean train_file\?"):
        recipe_from_values(values, tmp_path / "my.yaml", tasks=task_rules())


def test_changed_values_are_validated_and_another_method_is_another_section() -> None:
    recipe = read_recipe(Path("my.yaml"), text=VALID[0], check_files=False).recipe
    other = changed(recipe, {"method": {"type": "full"}, "training.seed": 1})
    assert other.method == FullMethod(type="full")
    assert other.training == recipe.training.model_copy(update={"seed": 1})
    assert changed(recipe, {"method": {"type": "lora"}, "method.r": 2}).method == LoraMethod(type="lora", r=2)
    with pytest.raises(ValueError, match="seed"):
        changed(recipe, {"training.seed": "one"})
