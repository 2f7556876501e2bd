"""A model measured on the rows of a file, whoever trained it: metrics of its task, and nothing on how it was fitted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.commands.generate import measured_decoding
from ftkit.decoding.prompts import form_of
from ftkit.errors import UserError
from ftkit.evaluation.own_metrics import load_metrics, measure_rows
from ftkit.methods.adapter_folder import ADAPTER_FILE, adapter_settings
from ftkit.methods.table import BY_PEFT_TYPE
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.saved_folder import PROMPTING_FILE, model_folder
from ftkit.models.saved_lm import find_base
from ftkit.progress import Reporter, Silent
from ftkit.recipe.data_section import DataSpec
from ftkit.recipe.schema import Recipe
from ftkit.storage import StrPath
from ftkit.tasks.table import recipe_of_run, take_recipe, task_of, task_of_model
from ftkit.training.opening import load_data

NO_VERDICT = (
    "this does not tell whether it is overfit, underfit or has forgotten, for which the run that trained it is needed: "
    "ftkit eval RUN; nor was it looked at whether these rows were learnt"
)
OF_THE_FILE = ("encoding", "delimiter", "table", "max_train_samples", "max_eval_samples", "drop_duplicates")
"""Keys of `data` that are about the file of a training."""


class GivenRows(NamedTuple):
    """What a model gave the rows of a file.

    Attributes:
        task: of the model.
        metrics: name -> entry with value, interval and number of rows, as in metrics.json.
        base: the same of the base of an adapter or a prompt; else empty.
        num_rows: of the file.
    """

    task: str
    metrics: dict[str, Any]
    base: dict[str, Any]
    num_rows: int


def measure(
    path: StrPath,
    file: StrPath,
    overrides: Sequence[str] = (),
    *,
    own_metrics: Sequence[str] = (),
    use_cpu: bool = False,
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
    **values: object,
) -> GivenRows:
    """Measure a model on the rows of a file: `measure("owner/classifier", "reviews.csv", label_column="stars")`.

    Args:
        path: a run, a model folder, `builtin:NAME` or a hub id.
        file: of rows as a training has them; labels are those of the model.
        overrides: dotted `key=value` words of a recipe, of the file's columns and of the metrics. What they leave out
            is as in the run's recipe, else found or usual.
        own_metrics: functions of Python files (`metrics.py:my_score`), which are run.
        use_cpu: leave an accelerator alone.
        trust_remote_code: let code that comes with the model run.
        reporter: hears of columns and progress.
        values: keys of the recipe, as `ftkit.train` takes them.

    Raises:
        UserError: there is no model that is measured, or rows that do not fit it.
    """
    path, reporter = Path(path), reporter or Silent()
    folder = model_folder(path)
    recipe = take_recipe(
        _recipe_of(path, folder, Path(file)),
        [f"training.use_cpu={str(use_cpu).lower()}", *overrides],
        {**values, "model.trust_remote_code": trust_remote_code},
    ).recipe
    task, checkpoint = task_of(recipe.task), _checkpoint_of(folder)
    own = load_metrics(own_metrics, recipe, task.answer_keys)
    splits = load_data(recipe, task, checkpoint)
    for key, found in splits.found.items():
        if key.endswith("_column") or key == "template":
            reporter.say(f"{key} {found}, found")
    kept = task.score_on(folder, recipe, splits, checkpoint, reporter=reporter)
    final, base = (
        task.metrics_of(recipe, splits.validation, of["validation"], splits.label_names) if of else {}
        for of in (kept.final, kept.base)
    )
    if own:
        given, names = kept.final["validation"], splits.label_names
        rows = task.prediction_rows(recipe, splits.validation, given, kept.base.get("validation", given), names)
        final |= measure_rows(own, list(rows), task.answer_keys, recipe)
    return GivenRows(recipe.task, final, base, len(splits.validation))


def _checkpoint_of(folder: Path) -> Checkpoint:
    """The model, or the base under an adapter, with the adapter's tokenizer."""
    if not (folder / ADAPTER_FILE).is_file():
        return Checkpoint(str(folder), folder)
    return replace(find_base(folder, adapter_settings(folder)), adapter=folder)


def _recipe_of(path: Path, folder: Path, file: Path) -> dict[str, Any]:
    """Sections of a recipe in which the rows of the file are held out, and the model is what it is."""
    if not file.exists():
        raise UserError(f"there is no file {file}", fix="name one of rows as a training has them")
    held_out = {"train_file": str(file.absolute()), "validation_file": str(file.absolute())}
    recipe = recipe_of_run(path)
    if recipe is not None:
        return _sections_of_run(recipe, folder, held_out)
    name = task_of_model(folder)
    sections: dict[str, Any] = {
        "task": name,
        "model": {"name_or_path": str(_checkpoint_of(folder).folder.absolute())},
        "method": {"type": _method_of(folder)},
        "data": held_out | _form_of(folder) | _labels_of(folder),
    }
    if knobs := measured_decoding(folder):
        sections["generation"] = knobs
    return sections


def _sections_of_run(recipe: Recipe, folder: Path, held_out: Mapping[str, str]) -> dict[str, Any]:
    sections = recipe.settings()
    base = sections["model"] | {"name_or_path": str(_checkpoint_of(folder).folder.absolute())}
    # a base that an adapter was merged into lies in a folder of its own, and so does one of GGUF
    for key in ("revision", "gguf_file", "adapter", "adapter_use", "freeze"):
        base.pop(key, None)
    others = {key for key in DataSpec.model_fields if key.endswith(("_split", "_file")) or key.startswith("dataset_")}
    gone = {*others, *OF_THE_FILE, "validation", "validation_size", "add_tokens", "add_special_tokens"}
    data = {key: value for key, value in sections["data"].items() if key not in gone}
    return {
        "task": recipe.task,
        "model": base,
        "method": {"type": _method_of(folder)},
        "data": {**data, **held_out},
        "evaluation": sections["evaluation"],
        **({"generation": sections["generation"]} if "generation" in sections else {}),
    }


def _method_of(folder: Path) -> str:
    """How what lies in a folder was trained, as far as that changes how it is read."""
    if not (folder / ADAPTER_FILE).is_file():
        return "full"
    return BY_PEFT_TYPE.get(str(adapter_settings(folder).get("peft_type")), "full")


def _form_of(folder: Path) -> dict[str, Any]:
    """The template in which a language model was taught, where its folder tells one."""
    if not (folder / PROMPTING_FILE).is_file():
        return {}
    template = form_of(folder).prompting.template
    return {} if template is None else {"template": template}


def _labels_of(folder: Path) -> dict[str, Any]:
    """The labels of a classifier in their order; those without a name of their own are the rows'."""
    model = Checkpoint(str(folder), folder)
    if not model.is_classifier or all(re.fullmatch("LABEL_[0-9]+", name) for name in model.labels.values()):
        return {}
    return {"label_names": [model.labels[str(index)] for index in range(len(model.labels))]}
