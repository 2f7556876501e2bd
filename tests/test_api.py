"""`import ftkit`: the commands as functions that take what Python code has, and results that stand for their runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ftkit
from ftkit.errors import RecipeError, UserError
from ftkit.recipe.keys import all_keys
from ftkit.tasks.table import read_recipe, take_recipe, task_rules
from ftkit.training.outcome import TrainResult

RECIPE = {
    "task": "classification",
    "model": {"name_or_path": "builtin:tiny-bert"},
    "method": {"type": "frozen"},
    "training": {"num_train_epochs": 2, "use_cpu": True},
    "evaluation": {"num_resamples": 100},
}


def recipe_in(folder: Path) -> dict[str, object]:
    rows = folder / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"a ship {n},{'no' if n % 2 else 'yes'}\n" for n in range(40)))
    return {**RECIPE, "data": {"train_file": rows}}


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    folder = tmp_path_factory.mktemp("api")
    return ftkit.train(recipe_in(folder), output_dir=folder / "run", learning_rate=0.05)


def test_importing_ftkit_loads_nothing_but_itself() -> None:
    program = "import sys, ftkit; print(*sorted(name for name in sys.modules if name[:5] in ('ftkit', 'torch')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ftkit", "ftkit.version"]


def test_every_name_that_is_offered_is_there_and_no_other() -> None:
    assert all(callable(getattr(ftkit, name)) for name in ftkit.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        ftkit.trian  # type: ignore[attr-defined]  # noqa: B018


def test_keys_given_by_name_are_those_of_the_recipe(result: TrainResult) -> None:
    recipe = read_recipe(result.run.recipe_file).recipe
    assert recipe.training.learning_rate == 0.05
    assert recipe.training.output_dir == str(result.run.path)


def test_a_recipe_is_a_file_a_dictionary_or_a_recipe(tmp_path: Path) -> None:
    given = recipe_in(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(given, default=str))
    values = {"output_dir": str(tmp_path / "run"), "seed": 3, "data.max_length": 16}
    one, two = take_recipe(path, values=values).recipe, take_recipe(given, values=values).recipe
    assert one == two == take_recipe(one).recipe
    assert (one.training.seed, one.data.max_length) == (3, 16)


def test_a_key_that_no_section_has_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such key: learning_rat") as error:
        take_recipe(recipe_in(tmp_path), values={"learning_rat": 1})
    assert "learning_rate" in str(error.value.fix)


def test_a_key_stands_in_one_section_so_its_name_alone_tells_it() -> None:
    assert {name: places for name, places in all_keys(task_rules()).items() if len(places) > 1} == {}


def test_what_is_wrong_with_a_dictionary_is_said_as_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.lr: an older or foreign spelling"):
        take_recipe({**recipe_in(tmp_path), "training": {"lr": 1e-3}})


def test_a_value_that_yaml_has_no_word_for_is_named_by_its_type(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="set"):
        take_recipe({**recipe_in(tmp_path), "evaluation": {"metrics": {"accuracy"}}})


def test_a_result_is_handed_on_as_a_path(result: TrainResult) -> None:
    (row,) = ftkit.predict(result, "a ship 3", use_cpu=True)
    assert row["label"] in ("no", "yes")
    report = ftkit.evaluate(result.run, effort="quick")
    assert report.verdict.sentence in report._repr_html_().replace("&#x27;", "'")
    assert "<table>" in result._repr_html_()
    exported = ftkit.export(result, result.run.path.parent / "out").folder
    assert (exported / "model.safetensors").is_file()
    other = ftkit.train(result.run.recipe_file, output_dir=result.run.path.with_name("other"), seed=7)
    assert [Path(one.path).name for one in ftkit.compare([result, other]).runs] == ["run", "other"]


def test_pairs_go_one_to_one_with_texts(result: TrainResult) -> None:
    with pytest.raises(UserError, match="2 texts and 1 second texts"):
        list(ftkit.predict(result, ["a", "b"], pairs="c"))


def test_a_language_model_answers_with_the_knobs_that_are_named(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text\n" + "".join(f"the {n} ships lie at the pier\n" for n in range(12)))
    run = ftkit.train(
        {"task": "causal_lm", "model": {"name_or_path": "builtin:tiny-gpt2"}, "data": {"train_file": str(rows)}},
        output_dir=tmp_path / "run",
        max_steps=1,
        use_cpu=True,
        num_resamples=100,
    )
    first, second = ftkit.generate(run, ["the", "a"], max_new_tokens=3, use_cpu=True)
    assert first["new_tokens"] <= 3
    assert first.keys() == second.keys()
    with pytest.raises(UserError, match="no knob temperatur"):
        ftkit.generate(run, "the", temperatur=1)
