"""A recipe with the advice of a report in it."""

from __future__ import annotations

from collections.abc import Sequence

from ftkit.diagnosis.verdict import Change
from ftkit.methods.table import METHODS
from ftkit.recipe.dump import changed, dump_recipe
from ftkit.recipe.schema import Recipe
from ftkit.tasks.table import task_rules

METHOD = "method.type"
FOLLOW_THE_METHOD = [
    "data.validation",
    *("training.learning_rate", "training.lr_scheduler_type", "training.lr_scheduler_kwargs"),
    *("training.warmup_steps", "training.weight_decay"),
]
"""Keys of which another method wants other values."""


def advised_text(recipe: Recipe, changes: Sequence[Change]) -> str:
    """The recipe as YAML text with every value that the advice names, and the reasons as comments at the top.

    Another method brings its own section and defaults with it, unless the advice names those too. The new run gets no
    output_dir, so that it is named after the file.
    """
    task = task_rules()[recipe.task]
    advised = {change.key: change.value for change in changes if change.key and change.value is not None}
    method = str(advised.pop(METHOD, recipe.method.type))
    values: dict[str, object] = {}
    if method != recipe.method.type:
        defaults = task.defaults_of(method, recipe.value)
        values = {
            "method": {"type": method},
            **{key: defaults[key] for key in FOLLOW_THE_METHOD if key in defaults},
            **({} if METHODS[method].trains == "weights" else {"model.freeze": None, "training.layer_lr_decay": 1.0}),
        }
    known = {f"{section}.{key}" for section, fields in task.fields(method).items() for key in fields}
    values |= {key: value for key, value in advised.items() if key in known}
    if "training.num_train_epochs" in values:
        values.setdefault("training.max_steps", None)
    comments = ["With the advice of ftkit eval:", *(f"  {_line(change)}" for change in changes)]
    return dump_recipe(changed(recipe, values), comments=comments, without={"training.output_dir"})


def _line(change: Change) -> str:
    if not change.key or change.value is None:
        return f"by hand: {change.why}"
    return f"{change.key}: {change.value} ({change.why})"
