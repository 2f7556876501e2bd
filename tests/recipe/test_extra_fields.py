"""What training.extra may hold: every field of TrainingArguments is a key, free, or refused with a reason."""

import dataclasses

import pytest

from ftkit.errors import UserError
from ftkit.recipe.keys import keys_of, todays
from ftkit.recipe.trainer.extra_fields import FREE, REFUSED
from ftkit.tasks.table import read_recipe, task_rules

TEXT = """
task: classification
model: {name_or_path: "builtin:tiny-bert"}
method: {type: full}
data: {train_file: x.csv}
training: {extra: {%s: 1}}
"""


def test_every_field_of_training_arguments_is_a_key_of_the_recipe_or_free_or_refused():
    from transformers import TrainingArguments

    tasks = task_rules()
    for field in dataclasses.fields(TrainingArguments):
        today = todays(field.name, tasks)
        is_key = field.name in keys_of("training", "full", tasks) or today is not None
        assert is_key + (field.name in FREE) + (field.name in REFUSED) >= 1, field.name
    assert not FREE & REFUSED.keys()


@pytest.mark.parametrize("name", [*REFUSED, "adam_bet"])
def test_what_would_break_the_promises_of_a_run_is_refused_by_the_recipe(name, tmp_path):
    with pytest.raises(UserError, match=r"training.extra: .*" + name):
        read_recipe(tmp_path / "r.yaml", text=TEXT % name, check_files=False)


def test_a_key_of_another_task_is_not_sent_where_it_would_be_refused_too(tmp_path):
    text = (TEXT % "class_weights").replace("classification", "causal_lm").replace("bert", "gpt2")
    with pytest.raises(UserError, match="class_weights has no meaning for task causal_lm; remove it"):
        read_recipe(tmp_path / "r.yaml", text=text, check_files=False)


@pytest.mark.parametrize("name", sorted(FREE))
def test_what_a_run_bears_is_taken(name, tmp_path):
    recipe = read_recipe(tmp_path / "r.yaml", text=TEXT % name, check_files=False).recipe
    assert recipe.training.extra == {name: 1}
