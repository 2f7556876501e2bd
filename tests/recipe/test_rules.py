"""What no single field can know."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.errors import RecipeError
from ftkit.recipe.rules import HEAD_IGNORES
from ftkit.tasks.table import read_recipe

FILE = {"task": "classification", "model.name_or_path": "builtin:minilm", "data.train_file": "a.csv"}
NAMED = {"task": "classification", "model.name_or_path": "builtin:minilm", "data.dataset_name": "builtin:docstrings"}
NO, WSD = "training.eval_strategy=no", "training.lr_scheduler_type=warmup_stable_decay"
ALL = {**FILE, "data.validation_size": "0", "training.weight_decay": "0.1"}
MARGIN = "training.eval_margin_of_error=0.1"
HUB = {**NAMED, "data.dataset_name": "someone/reviews"}


def broken(folder: Path, base: dict[str, str], *overrides: str) -> str:
    """What is wrong with a recipe of `base` and overrides; empty when nothing is."""
    path = folder / "my.yaml"
    path.write_text("{}\n")
    words = [f"{key}={value}" for key, value in base.items()]
    try:
        read_recipe(path, [*words, *overrides], check_files=False)
    except RecipeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("base", [FILE, NAMED, HUB, ALL])
def test_the_recipes_that_the_rules_are_tried_on_break_none(tmp_path: Path, base: dict[str, str]) -> None:
    assert broken(tmp_path, base) == ""


@pytest.mark.parametrize(
    ("base", "overrides", "problem"),
    [
        (FILE, ["data.dataset_name=x/y"], "train_file is given as well"),
        (HUB, ["data.validation_file=b.csv"], "files do not mix with dataset_name"),
        (FILE, ["data.validation_split=dev"], "only a dataset_name has it"),
        (FILE, ["data.train_split=all"], "only a dataset_name has it"),
        (FILE, ["data.dataset_config_name=de"], "only a dataset_name has it"),
        (HUB, ["data.validation_split=train"], "is another split already"),
        (FILE, ["data.validation_size=2.5"], "not a whole number of rows"),
        (FILE, ["data.validation_size=0.3", "data.validation_file=b.csv"], "nothing is split off"),
        (FILE, ["data.validation=folds", "data.validation_size=0.3"], "no other rows are held out"),
        (FILE, ["data.validation_size=0"], "training.weight_decay: data.validation_size: 0 holds nothing out"),
        (ALL, ["training.load_best_model_at_end=true"], "holds nothing out to find the best step by"),
        (ALL, ["training.early_stopping_patience=2"], "is not looked for"),
        (ALL, ["method.type=full", "training.lr_scheduler_type=reduce_lr_on_plateau"], "and it follows scores"),
        (ALL, ["data.example_in_card=true"], "and it shows such a row"),
        (ALL, ["data.validation_file=b.csv"], "nothing is split off"),
        (FILE, ["data.validation=folds", "data.validation_file=b.csv"], "no other rows are held out"),
        (FILE, ["data.validation=folds", "method.type=lora"], "folds are for frozen heads"),
        (NAMED, ["data.dataset_name=builtin:docstring"], "did you mean builtin:docstrings?"),
        (NAMED, ["data.dataset_name=builtin:signatures"], "has no labels"),
        (NAMED, ["data.delimiter=;"], "a built-in data set has none"),
        (FILE, ["data.text_column=a", "data.text_pair_column=a"], "'a' is the text_column already"),
        (FILE, ["data.text_column=a", "data.label_column=a"], "'a' is the text_column already"),
        (FILE, ["data.text_pair_column=b"], "name both columns"),
        (FILE, ["data.window_stride=8"], "data.long_texts is cut"),
        (FILE, ["data.long_texts=windows", "data.window_stride=9", "data.max_length=16"], "read three times or more"),
        (
            FILE,
            ["data.long_texts=head_and_tail", "data.text_column=a", "data.text_pair_column=b"],
            "would have to leave one of the two out",
        ),
        (FILE, ["data.encoding=utf-9"], "Python knows no encoding"),
        (FILE, ["data.delimiter='\"'"], "cannot separate fields"),
        (FILE, ["data.label_names=[a, a, b]"], "a label is named twice"),
        (FILE, ["data.label_names=[a]"], "fewer than two labels"),
        (FILE, ["data.label_names=[a, b]", "training.class_weights={a: 1, c: 2}"], "'c' is not in data.label_names"),
        (FILE, ["data.label_names=[a, b]", "training.class_weights={a: 1}"], "no weight for 'b'"),
        (FILE, ["training.class_weights={a: -1}"], "is below 0"),
        (FILE, ["data.label_names=[a, b]", "evaluation.metrics=[f1]", "evaluation.positive_label=c"], "is not in data"),
        (FILE, ["evaluation.positive_label=c"], "no metric of the list is about one class"),
        (FILE, ["evaluation.metrics=[f1, f1]"], "f1 is named twice"),
        (FILE, ["method.type=full", "training.fp16=true", "training.bf16=true"], "bf16 is on as well"),
        (FILE, ["method.type=full", "training.fp16=true", "training.use_cpu=true"], "not mixed in on a CPU"),
        (FILE, ["method.type=full", "model.dtype=bfloat16"], "write training.bf16: true"),
        (FILE, ["model.revision=main"], "a built-in model has no revisions"),
        (FILE, ["training.max_steps=9", "training.num_train_epochs=2"], "max_steps is given as well"),
        (FILE, ["training.warmup_steps=1.5"], "1.5 is neither"),
        (FILE, ["training.lr_scheduler_type=constant", "training.warmup_steps=5"], "has no warm-up"),
        (FILE, ["training.lr_scheduler_type=greedy"], "greedy needs min_lr"),
        (FILE, ["training.lr_scheduler_type=reduce_lr_on_plateau"], "would give each a rate of its own"),
        (FILE, ["method.type=full", "training.lr_scheduler_type=reduce_lr_on_plateau", NO], "eval_strategy is no"),
        (FILE, ["training.lr_scheduler_kwargs={num_cycle: 1}", WSD], "num_cycle is no argument"),
        (
            FILE,
            ["training.max_steps=9", "training.lr_scheduler_kwargs={num_decay_steps: 10}", WSD],
            "lr_scheduler_kwargs: training.lr_scheduler_type warmup_stable_decay takes 10 steps, and the run has 9",
        ),
        (FILE, ["training.eval_strategy=steps"], "eval_steps is missing"),
        (FILE, ["training.eval_steps=5"], "eval_strategy is epoch"),
        (FILE, ["training.load_best_model_at_end=false", "training.early_stopping_patience=2"], "is not looked for"),
        (FILE, ["method.type=full", "training.extra={seed: 1}"], "write it as training.seed"),
        (FILE, ["method.type=full", "training.extra={warmup_ratio: 0.1}"], "write training.warmup_steps"),
        (FILE, ["method.type=lora", "method.target_modules=[]"], "no layer is named"),
        (FILE, ["method.type=lora", "model.freeze=[layers.0]"], "method lora leaves every weight of the base as it is"),
        (FILE, ["model.freeze=[layers.0]"], "method frozen leaves every weight of the base as it is; remove it"),
        (FILE, ["training.eval_margin_of_error=0.1"], "a frozen head scores all rows"),
        (FILE, ["method.type=full", "training.eval_margin_of_error=0.1", NO], "nothing is scored while it trains"),
        (
            FILE,
            ["method.type=full", MARGIN, "training.metric_for_best_model=f1_macro"],
            "not known before it is measured",
        ),
        (FILE, ["method.type=full", MARGIN, "training.class_weights=balanced"], "leans on the few rows of rare ones"),
        (FILE, ["training.layer_lr_decay=0.9"], "method frozen trains no layer of the base"),
    ],
)
def test_a_broken_rule_is_reported(tmp_path: Path, base: dict[str, str], overrides: list[str], problem: str) -> None:
    replaced = {word.partition("=")[0]: word.partition("=")[2] for word in overrides}
    assert problem in broken(tmp_path, {**base, **replaced})


VALUES = {
    "optim": ["optim=sgd"],
    "report_to": ["report_to=wandb"],
    "extra": ["extra={adam_beta2: 0.9}"],
    "logging_steps": ["logging_steps=7"],
    "save_strategy": ["save_strategy=epoch"],
    "save_steps": ["save_steps=3", "save_strategy=steps"],
    "save_minutes": ["save_minutes=3", "save_strategy=minutes"],
}


@pytest.mark.parametrize("name", HEAD_IGNORES)
def test_a_key_that_a_frozen_head_would_ignore_is_an_error_and_fits_the_other_methods(
    tmp_path: Path, name: str
) -> None:
    number = "3" if name in ("save_total_limit", "dataloader_num_workers", "gradient_accumulation_steps") else "true"
    words = [f"training.{word}" for word in VALUES.get(name, [f"{name}={number}"])]
    assert f"{name}: a frozen head is fitted without it" in broken(tmp_path, FILE, *words)
    assert broken(tmp_path, FILE, *words, "method.type=full") == ""


def test_rules_are_checked_beside_wrong_values(tmp_path: Path) -> None:
    found = broken(tmp_path, FILE, "training.seed=x", "training.eval_steps=5")
    assert "training.seed" in found
    assert "training.eval_steps" in found


def test_a_rule_keeps_silent_about_a_key_that_is_wrong_by_itself(tmp_path: Path) -> None:
    found = broken(tmp_path, {**FILE, "data.train_file": "[1]"})
    assert found.count("\n") == 0
    assert "must be a text" in found


def test_an_argument_of_a_schedule_that_is_no_number_is_one_problem(tmp_path: Path) -> None:
    found = broken(tmp_path, FILE, "training.max_steps=9", "training.lr_scheduler_kwargs={num_decay_steps: a}", WSD)
    assert found.count("lr_scheduler_kwargs") == 1
    assert "num_decay_steps: must be a valid number" in found
