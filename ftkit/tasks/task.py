"""The questions that every task answers; the package of a task is the answer, and mypy holds it to this Protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ftkit.training.way import Kept, OwnData, OwnRecipe, Trainable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from ftkit.data.dataset import Splits
    from ftkit.data.look import FileHead
    from ftkit.diagnosis.measurements import Unit
    from ftkit.evaluation.own_metrics import AnswerKeys
    from ftkit.evaluation.subject import Gathered, Subject
    from ftkit.models.checkpoint import Checkpoint
    from ftkit.progress import Reporter
    from ftkit.recipe.new import NewRecipe
    from ftkit.report.card import CardFacts, Prompt
    from ftkit.report.check import DataCheck


class ReadBack(NamedTuple):
    """What a saved model says.

    Attributes:
        outputs: logits (N, K) of a classifier; nats a target of each row (N,) of a model that writes.
        said: the label of each row; what a model that writes says after the first row's prompt.
        label_names: K names; none of a model that writes.
    """

    outputs: npt.NDArray[Any]
    said: Sequence[str]
    label_names: Sequence[str]


ANSWERED_BY = {
    "load_splits": "form",
    "made_up_row": "form",
    "rehearse": "train",
    "settled": "train",
    "way_of": "train",
    "metrics_of": "scores",
    "prediction_rows": "scores",
    "answer_keys": "scores",
    "check_data": "check",
    "columns": "new",
    "usual_start": "new",
    "told_by": "new",
    "new_recipe": "new",
    "read_back": "scores",
    "unit": "scores",
    "is_of": "scores",
    "score_on": "evaluate",
    "in_pieces": "scores",
    "measure": "evaluate",
    "card_facts": "card",
    "loading_lines": "card",
    "losses_alone": "evaluate",
}
"""Question -> the file of a task's folder that answers it: the same in every task, and imported when it is asked."""


class Task(Trainable, Protocol):
    """What a task of a recipe does; what the story of a run asks of it stands with the story."""

    unit: Unit
    """What its losses are means over."""
    in_pieces: bool
    """Whether a long text is measured in pieces, each an example of its own."""
    answer_keys: AnswerKeys | None
    """Where an answer stands in the rows of predictions/; None where a model is measured by losses alone."""
    columns: frozenset[str]
    """Kinds of columns that its examples may have, as `ftkit new` can be told them: text, label, prompt, ..."""
    losses_alone: Mapping[str, object]
    """Recipe keys that keep a training from measuring more than losses, and their values."""

    def made_up_row(self, spec: OwnData, *, sentence: str, text: str, label: str) -> dict[str, Any]:
        """A row that the data of a recipe could have, where the data set itself is not here.

        Args:
            spec: names columns, which are followed.
            sentence: without a capital and without a full stop.
            text: one sentence or many.
            label: where examples have one; else empty.
        """

    def check_data(self, recipe: OwnRecipe) -> DataCheck:
        """Read the data of a recipe, audit it and plan the run; no weight is read.

        Raises:
            UserError: the data or the base model cannot be had, or do not fit.
        """

    def measure(self, subject: Subject) -> Gathered:
        """Measure a model for `ftkit eval`: base, best and last on every set, baselines, and what the base knew.

        Raises:
            UserError: a model, a base or a reference that cannot be read.
        """

    def usual_start(self, named: Collection[str]) -> str:
        """The starting point of a new recipe where neither one nor data is named.

        Args:
            named: kinds of columns that are named.
        """

    def told_by(self, head: FileHead) -> str | None:
        """Why data are for this task, in words, which may be none; None where they do not look like it.

        Tasks are asked in their order, so those asked later need not look for the earlier ones' data.
        """

    def new_recipe(self, head: FileHead, *, start: str | None, path: Path, model: str | None) -> NewRecipe:
        """Fill a starting point in for a data file.

        Args:
            head: what was seen of the file.
            start: name of the starting point; None for the one that suits the data.
            path: where the recipe will lie.
            model: hub id, folder or `builtin:NAME`; None keeps the starting point's.

        Raises:
            UserError: it is not obvious what an example is, and not named.
        """

    def read_back(self, path: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
        """Load a saved model on the CPU and ask it about some rows.

        Args:
            path: a run or a model folder.
            rows: N rows, their columns as in the table of a split, but for labels.
            max_length: tokens kept of each.

        Raises:
            UserError: there is no model that can be loaded.
        """

    def is_of(self, folder: Path) -> bool:
        """Whether the model in a folder, whoever trained it, is one of this task."""

    def score_on(
        self, folder: Path, recipe: OwnRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
    ) -> Kept:
        """What a saved model gives the validation rows, and what its base does, where an adapter can be lifted off.

        Args:
            folder: of the model.
            recipe: that names the data.
            splits: the data.
            checkpoint: the model, or its base with the adapter's tokenizer.
            reporter: hears of it.

        Raises:
            UserError: the model cannot be read.
        """

    def card_facts(self, recipe: OwnRecipe, splits: Splits, facts: Mapping[str, Any]) -> CardFacts:
        """What is special of the card of a run.

        Args:
            recipe: of this task.
            splits: its data.
            facts: of the training, as in the manifest.
        """

    def loading_lines(self, folder: Path, *, at: str, name: str, prompt: Prompt) -> str:
        """Python for the card of a model, which loads it and asks it, run beside its folder.

        Args:
            folder: of the model, read for what lies in it.
            at: what the folder will be called.
            name: of the model, where it is served.
            prompt: what it is asked.
        """


def answers(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a task's package: a question is looked up in the file that answers it."""

    def answer(name: str) -> Any:
        if name not in ANSWERED_BY:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{ANSWERED_BY[name]}"), name)

    return answer
