"""A recipe with the advice of a report in it."""

from __future__ import annotations

from collections.abc import Sequence

from ftkit.commands.trials import changed_text
from ftkit.diagnosis.verdict import Change
from ftkit.methods.lora import LoraMethod
from ftkit.recipe.defaults import defaults_of
from ftkit.recipe.schema import Recipe

METHOD = "method.type"


def advised_text(recipe: Recipe, changes: Sequence[Change]) -> str:
    """The recipe as YAML text with every value that the advice names, and the reasons as comments at the top.

    Another method brings its own section and defaults with it, unless the advice names those too. The new run gets no
    output_dir, so that it is named after the file.
    """
    lines = ["# With the advice of ftkit eval:"]
    lines += [f"#   {_line(change)}" for change in changes]
    values = {change.key: change.value for change in changes if change.key and change.value is not None}
    wanted = values.pop(METHOD, None)
    if wanted is not None and wanted != recipe.method.type:
        values = {**_other_method(recipe, str(wanted)), **values}
    if values.get("training.max_steps") is None and "training.num_train_epochs" in values:
        values["training.max_steps"] = None
    values = {key: value for key, value in values.items() if _known(recipe, key)}
    text = changed_text(recipe, values)
    kept = [line for line in text.splitlines() if not line.startswith("  output_dir:")]
    return "\n".join([*lines, *kept]) + "\n"


def _line(change: Change) -> str:
    if not change.key or change.value is None:
        return f"by hand: {change.why}"
    return f"{change.key}: {change.value} ({change.why})"


def _other_method(recipe: Recipe, method: str) -> dict[str, object]:
    """The section of another method, and the training values that differ by method."""
    section: dict[str, object] = {"type": method}
    if method == "lora":
        section = LoraMethod(type="lora").model_dump()
        if recipe.task == "classification":
            section = {"type": "lora"}
    found: dict[str, object] = {"method": section}
    defaults = defaults_of(recipe.task, method, labels_as_text=recipe.data.labels_as_text)
    for key in ("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay"):
        found[f"training.{key}"] = defaults[f"training.{key}"]
    return found


def _known(recipe: Recipe, key: str) -> bool:
    section, _, name = key.partition(".")
    holder = getattr(recipe, section, None)
    return holder is not None and (not name or section == "method" or name in type(holder).model_fields)
