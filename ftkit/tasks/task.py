"""The questions that every task answers; the package of a task is the answer, and mypy holds it to this Protocol."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ftkit.data.dataset import Splits
    from ftkit.data.gather import Source
    from ftkit.diagnosis.measurements import Unit
    from ftkit.evaluation.subject import Gathered, Subject
    from ftkit.models.checkpoint import Checkpoint
    from ftkit.progress import Reporter
    from ftkit.recipe.schema import DataSpec, Recipe
    from ftkit.report.check import DataCheck
    from ftkit.runs.checkpoints import SealedCheckpoint
    from ftkit.runs.run import Run
    from ftkit.training.outcome import Finished

ANSWERED_BY = {
    "load_splits": "form",
    "rehearse": "train",
    "finetune": "train",
    "check_data": "check",
    "unit": "scores",
    "measure": "evaluate",
}
"""Question -> the file of a task's folder that answers it: the same in every task, and imported when it is asked."""


class Task(Protocol):
    """What a task of a recipe does."""

    unit: Unit
    """What its losses are means over."""

    def load_splits(self, spec: DataSpec, *, seed: int, narrow: Callable[[Source], Source] | None = None) -> Splits:
        """Read, check and split the data of a recipe.

        Args:
            spec: where the examples are; paths absolute or relative to the working directory.
            seed: decides which rows are split off for validation, and which are drawn by the max_..._samples keys.
            narrow: makes each source one that is read in part.

        Returns:
            The splits, with notes on everything that was assumed.

        Raises:
            UserError: anything about the data that a person can mend, with `file:line` where it has a place.
        """

    def rehearse(self, recipe: Recipe, splits: Splits, checkpoint: Checkpoint) -> None:
        """Refuse, before a run directory is made, what would fail later.

        Raises:
            UserError: the base does not fit the task, or a metric cannot be had or computed.
        """

    def finetune(
        self,
        recipe: Recipe,
        splits: Splits,
        run: Run,
        *,
        checkpoint: Checkpoint,
        reporter: Reporter,
        resumed: SealedCheckpoint | None = None,
    ) -> Finished:
        """Train, save and measure, and write model/, metrics.json and predictions/.

        Args:
            recipe: of this task.
            splits: its data.
            run: an empty run, or one to go on with.
            checkpoint: the base model.
            reporter: hears what was chosen, cut and left out.
            resumed: the checkpoint of this run to go on from, verified.

        Returns:
            The metrics by split, as in metrics.json, and facts of the training.
        """

    def check_data(self, recipe: Recipe) -> DataCheck:
        """Read the data of a recipe, audit it and plan the run; no weight is read.

        Raises:
            UserError: the data or the base model cannot be had, or do not fit.
        """

    def measure(self, subject: Subject) -> Gathered:
        """Measure a model for `ftkit eval`: base, best and last on every set, baselines, and what the base knew.

        Raises:
            UserError: a model, a base or a reference that cannot be read.
        """


def answers(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a task's package: a question is looked up in the file that answers it."""

    def answer(name: str) -> Any:
        if name not in ANSWERED_BY:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{ANSWERED_BY[name]}"), name)

    return answer
