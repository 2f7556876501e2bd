"""`ftkit new`: a commented recipe for a data file, or a starting point as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from ftkit.data.reading.asked import AS_TRAINED, FileReading
from ftkit.disk import refuse_place
from ftkit.errors import UserError
from ftkit.models.builtin.builtin import is_missing, resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import is_local
from ftkit.models.families import config_folders
from ftkit.recipe.new import NewRecipe, fill, starting_point, task_of_recipe
from ftkit.storage import write_text
from ftkit.tasks import TASKS
from ftkit.tasks.table import read_recipe, task_of


def write_recipe(
    path: Path,
    *,
    data: Path | None = None,
    task: str | None = None,
    model: str | None = None,
    start: str | None = None,
    named: Mapping[str, str] | None = None,
    reading: FileReading = AS_TRAINED,
    overwrite: bool = False,
) -> NewRecipe:
    """Write a commented recipe, filled in for a data file where one is named.

    Args:
        data: the training file, or a folder with one that is called train.
        task: what to train; told by the rest if left out.
        model: hub id, folder or `builtin:NAME`; None keeps the starting point's.
        start: name of the starting point; None for the usual one.
        reading: how the data file is read; stands in the recipe, but for the defaults.
        named: kind of column (`text`, `label`, `prompt`, ...) -> its name, where it is known.

    Returns:
        What was written, and what was assumed of the data.

    Raises:
        UserError: the place is taken, what is asked does not go together, or the data do not tell what an example is.
    """
    refuse_place(path, overwrite=overwrite)
    named = named or {}
    task = _task_asked(task, start, named)
    if data is None:
        text = starting_point(start or task_of(task or TASKS[0]).usual_start(named))
        new = NewRecipe(fill(text, {"model.name_or_path": model}) if model else text)
    else:
        new = _filled_in(path, data, task=task, start=start, named=named, model=model, reading=reading)
    if model is not None:
        new = _of_a_length(new, path, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, new.text)
    return new


def _task_asked(task: str | None, start: str | None, named: Mapping[str, str]) -> str | None:
    """What the options say together; None where the data is left to decide."""
    says: dict[str, tuple[str, ...]] = {"--task": (task,)} if task else {}
    if start is not None:
        says[f"--from {start}"] = (task_of_recipe(starting_point(start)),)
    for kind in named:
        theirs = tuple(name for name in TASKS if kind in task_of(name).columns)
        if len(theirs) < len(TASKS):
            says[f"--{kind.replace('_', '-')}-column"] = theirs
    for (one, its), (other, others) in combinations(says.items(), 2):
        if not set(its) & set(others):
            theirs_said = f"{one} is for {' and '.join(its)}, {other} for {' and '.join(others)}"
            fix = f"leave out what does not belong to the task: {theirs_said}"
            raise UserError(f"{one} and {other} do not go together", fix=fix)
    return min(says.values(), key=len)[0] if says else None


def _filled_in(
    path: Path,
    data: Path,
    *,
    task: str | None,
    start: str | None,
    named: Mapping[str, str],
    model: str | None,
    reading: FileReading,
) -> NewRecipe:
    from ftkit.data.look import read_head

    if str(data).startswith("builtin:"):
        fix = "take a starting point that names it: --from quickstart, smollm2-pydoc, signatures or commands-t5"
        raise UserError(f"{data} needs no columns found", fix=fix)
    if start is not None and "  train_file:" not in starting_point(start):
        raise UserError(f"the starting point {start} brings its own data", fix="leave --data or --from out")
    head = read_head(data, reading, named=named)
    why = ""
    if task is None:
        # the first of the tasks that the data tell of; the common one where they tell of none
        told = ((name, task_of(name).told_by(head)) for name in TASKS)
        task, why = next(((name, said) for name, said in told if said is not None), (TASKS[0], ""))
    new = task_of(task).new_recipe(head, start=start, path=path, model=model)
    return replace(new, text=fill(new.text, reading.keys()), assumed=(*([why] if why else []), *new.assumed))


def _of_a_length(new: NewRecipe, path: Path, model: str) -> NewRecipe:
    """The recipe with lengths that the model has positions for: the starting point's, if they are few enough."""
    recipe = read_recipe(path, text=new.text, check_files=False).recipe
    asked = {key: getattr(recipe.data, key, None) for key in ("max_length", "max_target_length")}
    checkpoint = _checkpoint_here(model)
    if checkpoint is None:
        left = [f"data.{key}" for key, value in asked.items() if value is not None]
        said = f"{' and '.join(left)} left to the model: {model} is not here to ask how much it reads"
        return replace(new, text=fill(new.text, dict.fromkeys(left)), assumed=(*new.assumed, *([said] if left else [])))
    if checkpoint.counts_distances:
        return new
    limits = {
        "max_length": (checkpoint.position_limit, recipe.method.input_tokens),
        "max_target_length": (checkpoint.target_limit, recipe.method.output_tokens),
    }
    fitting = {
        f"data.{key}": limit - taken
        for key, (limit, taken) in limits.items()
        if limit is not None and (asked[key] or 0) + taken > limit
    }
    return replace(new, text=fill(new.text, fitting))


def _checkpoint_here(name: str) -> Checkpoint | None:
    """The checkpoint of a name, for what its configuration says; None where it is not on this machine.

    Raises:
        UserError: it can be no checkpoint: no such built-in model, or a file.
    """
    if is_missing(name):
        return None
    found = resolve(name)
    folders = [Path(found)] if isinstance(found, Path) or is_local(found) else config_folders(found)
    there = next((folder for folder in folders if (folder / "config.json").is_file()), None)
    return None if there is None else Checkpoint(name, there)
