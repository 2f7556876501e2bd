"""`ftkit train recipe.yaml --smoke`: the whole way of a recipe in seconds, on a tiny model and a few of its rows.

Everything happens in a temporary folder, on the CPU, without the hub. What is done otherwise than the recipe says, and
what is not tried at all, is said.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import numpy.typing as npt

from ftkit.commands.smoke.recipe import NOT_CHECKED, shrink
from ftkit.commands.smoke.reloading import NewProcess
from ftkit.data.dataset import ABOUT_ROWS
from ftkit.errors import UserError
from ftkit.interruption import Interrupted
from ftkit.progress import Reporter, Silent
from ftkit.recipe.parse import LoadedRecipe
from ftkit.storage import scratch_folder
from ftkit.tasks.table import read_recipe, task_of

if TYPE_CHECKING:
    from ftkit.commands.smoke.stand_in import StandIn
    from ftkit.data.dataset import Splits
    from ftkit.recipe.schema import Recipe
    from ftkit.tasks.task import ReadBack
    from ftkit.training.outcome import TrainResult

TOLERANCE = 1e-4
"""Largest difference of logits, relative to the largest of them (at least 1), that is taken for rounding."""


def smoke_test(
    recipe_file: Path, overrides: Sequence[str] = (), *, reporter: Reporter | None = None, new_process: bool = True
) -> list[str]:
    """Train, save, read back and predict what a recipe describes, with a tiny model; what was seen, in a few lines.

    Args:
        new_process: read the saved model back in a Python of its own, else in this one (faster by itself).

    Raises:
        UserError: what would have broken.
    """
    start = time.monotonic()
    loaded = read_recipe(recipe_file, overrides)
    with scratch_folder("smoke") as folder, mock.patch.dict(os.environ, HF_HUB_OFFLINE="1"):
        lines = _try(loaded, folder, reporter=reporter or Silent(), new_process=new_process)
    return [f"smoke test passed in {time.monotonic() - start:.1f} s: {recipe_file}", *(f"  {line}" for line in lines)]


def _try(loaded: LoadedRecipe, folder: Path, *, reporter: Reporter, new_process: bool) -> list[str]:
    from ftkit.commands.smoke.specimen import take_specimen
    from ftkit.commands.smoke.stand_in import make_stand_in

    asked = loaded.recipe
    stand_in = make_stand_in(asked.model, folder / "stand-in")
    recipe, changes = shrink(asked, stand_in, output_dir=folder / "run")
    with contextlib.ExitStack() as stack:
        splits, described = take_specimen(recipe, stand_in.checkpoint, folder / "data", reporter=reporter)
        # started before training, so that it imports the libraries at the same time
        other = stack.enter_context(NewProcess(recipe.task, folder / "exchange")) if new_process else None
        stack.enter_context(_one_thread())
        try:
            result = _train(recipe, splits, stand_in, folder / "cache", reporter=reporter)
            read = _read_back(recipe, result, splits, other)
            difference = _compare(read, result, splits)
        except Interrupted as stop:
            stop.advice = "nothing of a smoke test is kept"
            raise
        except UserError as error:
            raise error.with_advice(_context(stand_in)) from error
        except Exception as error:
            error.add_note(_context(stand_in))
            raise
    where = "in a new process" if new_process else "in the same process"
    return [
        f"model: {_told(stand_in)}",
        f"data: {described}",
        f"trained: method {recipe.method.type}, {_steps(result)}",
        f"saved and read back {where}: {_seen(read, difference)}",
        _shown_answers(read),
        *([f"otherwise than in the recipe: {'; '.join(changes)}"] if changes else []),
        *_not_tried(stand_in),
        f"not checked: {NOT_CHECKED}",
    ]


def _seen(read: ReadBack, difference: float) -> str:
    if math.isnan(difference):
        return "it answers; that is not compared, for no validation row is there of the form in which it is asked"
    same = "examples get the losses that were written into the run"
    if read.label_names:
        same = "texts get the logits that the trained model gave them"
    return f"{len(read.outputs)} {same} (largest difference {difference:.0e})"


def _shown_answers(read: ReadBack) -> str:
    if read.label_names:
        counted = Counter(read.said).most_common(6)
        return f"predicted: {', '.join(f'{label} {count}' for label, count in counted)}"
    return f"generated: {read.said[0]!r}"


def _train(recipe: Recipe, splits: Splits, stand_in: StandIn, cache: Path, *, reporter: Reporter) -> TrainResult:
    from ftkit.commands.train import write_model_card
    from ftkit.training.opening import open_run
    from ftkit.training.story import finish

    task = task_of(recipe.task)
    # features of the tiny model are of no use to anybody, and stored ones would keep it from running at all
    with mock.patch.dict(os.environ, FTKIT_CACHE=str(cache)):
        task.rehearse(recipe, splits, stand_in.checkpoint)
        opened = open_run(recipe, task, splits, stand_in.checkpoint)
        return finish(opened, recipe, task, write_card=write_model_card, reporter=reporter)


def _steps(result: TrainResult) -> str:
    lines = [json.loads(line) for line in result.run.history_file.read_text(encoding="utf-8").splitlines()]
    losses = [f"{line['train_loss']:.4f}" for line in lines if line.get("train_loss") is not None]
    steps = int(result.facts["fit"]["num_steps"])
    measured = ", ".join(name for name in result.metrics.get("validation", {}) if name != "loss") or "nothing"
    return f"{steps} step{'s' if steps > 1 else ''}, loss {', '.join(losses)}; measured: {measured}"


def _read_back(recipe: Recipe, result: TrainResult, splits: Splits, other: NewProcess | None) -> ReadBack:
    read = task_of(recipe.task).read_back if other is None else other.read_back
    split, compared = splits.validation, _compared(splits)
    table = split.table.take(compared) if len(compared) else next(splits.train.by_source())[2].table
    rows = table.select([name for name in table.column_names if name not in ("label", *ABOUT_ROWS)]).to_pylist()
    return read(result.run.path, rows, max_length=int(result.facts["max_length"]))


def _compared(splits: Splits) -> npt.NDArray[np.int64]:
    """Numbers of the validation rows (n,) that are written as the saved model says, as those of the first source."""
    promptings, split = splits.promptings, splits.validation
    rows = [rows for number, rows, _ in split.by_source() if not promptings or promptings[number] == promptings[0]]
    return np.concatenate([np.zeros(0, dtype=np.int64), *rows])


def _compare(read: ReadBack, result: TrainResult, splits: Splits) -> float:
    """The largest difference between what the saved and what the trained model gave."""
    compared = _compared(splits)
    if not len(compared):
        return float("nan")
    # where labels are written as text, it is texts that are given
    gives_labels = splits.prompting is None
    # what validation rows in folds were given is other models'
    scores = result.scores["train" if splits.folds is not None else "validation"]
    given = scores.logits if gives_labels and scores.logits is not None else scores.losses
    trained = given if splits.folds is not None else given[compared]
    difference = float(np.nanmax(np.abs(read.outputs - trained)))
    if not difference <= TOLERANCE * max(1.0, float(np.nanmax(np.abs(trained)))):
        what = "logits" if gives_labels else "losses"
        raise UserError(
            f"the saved model gives other {what} than the trained one: they differ by up to {difference:.1e}",
            fix="this is a bug of ftkit or of a library: please report it with the recipe",
        )
    if not gives_labels:
        return difference
    if tuple(read.label_names) != splits.label_names:
        raise UserError(f"the saved model names its labels {read.label_names} instead of {list(splits.label_names)}")
    if read.said != [splits.label_names[index] for index in read.outputs.argmax(axis=1)]:
        raise UserError("predictions of the saved model are not the labels of its largest logits", fix="report this")
    return difference


def _told(stand_in: StandIn) -> str:
    if stand_in.is_small:
        return f"{stand_in.model} made small, from its own configuration"
    if stand_in.checkpoint.name == stand_in.model:
        return stand_in.model
    return f"{stand_in.checkpoint.name} in place of {stand_in.model}, whose family {stand_in.told_by} tells"


def _not_tried(stand_in: StandIn) -> list[str]:
    """Nothing where the architecture is the model's own."""
    if stand_in.is_small or stand_in.same_architecture:
        return []
    why = f" (it cannot be made small: {stand_in.reason})" if stand_in.reason else ""
    other = stand_in.checkpoint.name
    return [f"not tried: the architecture of {stand_in.model}{why}, which may fail where {other} does not"]


def _context(stand_in: StandIn) -> str:
    return f"(in the smoke test: {_told(stand_in)})"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """For so small a model a second thread only waits for the first, and burns a whole core doing so."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
