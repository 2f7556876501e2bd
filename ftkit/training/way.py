"""What the story of a run asks of a task, and what is handed from one of its steps to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from ftkit.data.dataset import Split, Splits
    from ftkit.data.gather import Source
    from ftkit.methods.section import MethodSection
    from ftkit.metrics.scores import Scores
    from ftkit.models.checkpoint import Checkpoint
    from ftkit.progress import Reporter
    from ftkit.runs.checkpoints import SealedCheckpoint
    from ftkit.runs.run import Run

Made = TypeVar("Made")
OwnRecipe: TypeAlias = Any
"""A recipe of the task that is asked: whoever asks has read it as one."""
OwnData: TypeAlias = Any
"""The data section of such a recipe."""


@dataclass(frozen=True)
class Data(Generic[Made]):
    """The data of a run, as rows and as what a model is given.

    Attributes:
        splits: the rows.
        processor: what made examples of them, a tokenizer; it is saved with the model.
        examples: by split, train first.
        probed: the train probe: training rows as held-out ones are made to examples.
        limits: how long examples are, for the manifest.
        counts: how many there are and how many were cut, for the manifest.
    """

    splits: Splits
    processor: Any
    examples: Mapping[str, Made]
    probed: Made
    limits: Mapping[str, Any]
    counts: Mapping[str, Any]


@dataclass(frozen=True)
class Prepared(Generic[Made]):
    """A model ready to be trained.

    Attributes:
        model: a transformers model, a peft model around one, or a head; on the CPU still.
        data: laid out as the model takes them.
        precision: where and in which it computes, in words.
        trained: how many parameters are trained.
    """

    model: Any
    data: Data[Made]
    precision: str
    trained: int

    def facts(self, **others: Any) -> dict[str, Any]:
        """What the manifest says of it, with what else there is to say."""
        found = {**self.data.limits, "placement": self.precision, **others}
        return {**found, "trained_parameters": self.trained, **self.data.counts}


class Kept(NamedTuple):
    """What the model that was saved gives the held-out splits, by name.

    Attributes:
        final: that model.
        base: what it was before, where that can be uncovered; else none.
    """

    final: dict[str, Scores]
    base: dict[str, Scores]


class Scoring(Protocol):
    """How every model of a run is scored on the held-out splits, by name and row."""

    def base(self, model: Any) -> dict[str, Scores]:
        """What a model gives them before it is trained; nothing where that is no answer."""

    def kept(self, model: Any) -> dict[str, Scores]:
        """What the model gives them that was kept."""


class Way(Protocol):
    """How a model is trained: what differs between tasks, and between methods of a task."""

    def prepare(
        self, recipe: OwnRecipe, checkpoint: Checkpoint, data: Data[Any], *, reporter: Reporter
    ) -> Prepared[Any]:
        """Load the base and attach what is trained. Draws from torch's global generator.

        Raises:
            UserError: the checkpoint does not fit.
        """

    def scoring(self, recipe: OwnRecipe, prepared: Prepared[Any], *, reporter: Reporter) -> Scoring:
        """How every model of the run is scored."""

    def fit(
        self,
        recipe: OwnRecipe,
        run: Run,
        prepared: Prepared[Any],
        scoring: Any,
        *,
        resumed: SealedCheckpoint | None,
        reporter: Reporter,
    ) -> dict[str, Any]:
        """Train to the end; the model that is kept is in `prepared` then.

        Returns:
            Facts for the manifest, with `fit` among them.

        Raises:
            RunError: the disk or the memory ran out, or a loss is not finite.
            Interrupted: the process was asked to stop.
        """

    def save(
        self, recipe: OwnRecipe, checkpoint: Checkpoint, prepared: Prepared[Any], scoring: Any, folder: Path
    ) -> None:
        """Fill an empty folder with a standard model."""

    def score_kept(self, recipe: OwnRecipe, folder: Path, scoring: Any, *, reporter: Reporter) -> Kept:
        """Score a model as it lies in the run, so that what is measured is what was saved."""


class Trainable(Protocol):
    """What a task is asked in the story of a run."""

    def load_splits(self, spec: OwnData, *, seed: int, narrow: Callable[[Source], Source] | None = None) -> Splits:
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

    def rehearse(self, recipe: OwnRecipe, splits: Splits, checkpoint: Checkpoint) -> None:
        """Refuse, before a run directory is made, what would fail later.

        Raises:
            UserError: the base does not fit the task, or a metric cannot be had or computed.
        """

    def way_of(self, method: MethodSection) -> Way:
        """How models are trained by a method."""

    def make_examples(
        self, recipe: OwnRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
    ) -> Data[Any]:
        """What a model is given of every split; says what was cut and left out.

        Raises:
            UserError: nothing is left to learn.
        """

    def metrics_of(self, recipe: OwnRecipe, split: Split, scores: Scores, label_names: Sequence[str]) -> dict[str, Any]:
        """Metrics of what a model gave a split, each with its interval."""

    def prediction_rows(
        self, split: Split, scores: Scores, base: Scores | None, label_names: Sequence[str]
    ) -> Iterable[Mapping[str, Any]]:
        """One JSON object a row of a split: what was expected, and what a model gave it and its base."""
