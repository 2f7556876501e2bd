"""What the story of a run asks of a task, and what is handed from one of its steps to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from ftkit.data.chat.rendering import ChatBase
    from ftkit.data.dataset import Split, Splits
    from ftkit.data.gather import Source
    from ftkit.data.mixture.shares import Mixing
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
        mixing: how often the training examples of each source are learnt; None where that is once an epoch.
    """

    splits: Splits
    processor: Any
    examples: Mapping[str, Made]
    probed: Made
    limits: Mapping[str, Any]
    counts: Mapping[str, Any]
    mixing: Mixing | None = None

    def watching(self, examples: Any) -> Data[Made]:
        """The same with a part of the validation set, by the numbers of its examples (n,), sorted; whole rows of it."""
        import numpy as np

        some: Any = self.examples["validation"]
        some = some.take(examples)
        rows, numbers = np.unique(some.rows, return_inverse=True)
        split = self.splits.validation
        splits = replace(self.splits, validation=split.with_table(split.table.take(rows)))
        return replace(self, splits=splits, examples={**self.examples, "validation": replace(some, rows=numbers)})

    def facts(self, *, placement: str, trained: int, **others: Any) -> dict[str, Any]:
        """What the manifest says of a training on them: where, how precisely and how many parameters are trained."""
        mixed = {} if self.mixing is None else {"mixture": self.mixing.facts()}
        return {**self.limits, "placement": placement, **others, "trained_parameters": trained, **self.counts, **mixed}


class Kept(NamedTuple):
    """What the model that was saved gives the held-out splits, by name.

    Attributes:
        final: that model.
        base: what it was before, where that can be uncovered; else none.
    """

    final: dict[str, Scores]
    base: dict[str, Scores]


class Way(Protocol):
    """How the model of one run is trained and scored: what differs between tasks, and between methods of a task."""

    def prepare(self) -> Any:
        """Load the base and attach what is trained; the model is on the CPU still. Draws from torch's generator.

        Raises:
            UserError: the checkpoint does not fit.
        """

    def score_base(self, model: Any) -> dict[str, Scores]:
        """What a model gives the held-out splits, by name and row, before it is trained; nothing where that is no
        answer."""

    def fit(
        self, model: Any, run: Run, *, resumed: SealedCheckpoint | None, until: float | None = None
    ) -> dict[str, Any]:
        """Train a model to the end, in place: it is the one to keep then.

        Args:
            model: as it was prepared.
            run: gets history, probes and checkpoints.
            resumed: the checkpoint to go on from.
            until: epochs after which it ends, though its schedule goes on.

        Returns:
            Facts for the manifest, with `fit` among them.

        Raises:
            RunError: the disk or the memory ran out, or a loss is not finite.
            Interrupted: the process was asked to stop.
        """

    def save(self, model: Any, folder: Path) -> None:
        """Fill an empty folder with a standard model."""

    def score_kept(self, folder: Path) -> Kept:
        """Score a model as it lies in the run, so that what is measured is what was saved."""


class Trainable(Protocol):
    """What a task is asked in the story of a run."""

    def load_splits(
        self,
        spec: OwnData,
        *,
        seed: int,
        narrow: Callable[[Source], Source] | None = None,
        head: Sequence[str] = (),
        chats: ChatBase | None = None,
    ) -> Splits:
        """Read, check and split the data of a recipe.

        Args:
            spec: where the examples are; paths absolute or relative to the working directory.
            seed: decides which rows are split off for validation, and which are drawn by the max_..._samples keys.
            narrow: makes each source one that is read in part.
            head: labels of the base's own classification head, in their order: labels that nobody put in an order
                get theirs, where they are the same.
            chats: what chats are written with; without it, one that its template refuses is found later.

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

    def settled(self, recipe: OwnRecipe, checkpoint: Checkpoint) -> Mapping[str, object]:
        """What the base decides where the recipe does not: dotted key -> value, lengths in tokens.

        Raises:
            UserError: more was asked than the base has positions for.
        """

    def way_of(self, recipe: OwnRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter) -> Way:
        """Make examples of the data, and choose how the recipe's method is trained; says what was cut and left out.

        Raises:
            UserError: nothing is left to learn.
        """

    def metrics_of(self, recipe: OwnRecipe, split: Split, scores: Scores, label_names: Sequence[str]) -> dict[str, Any]:
        """Metrics of what a model gave a split, each with its interval."""

    def prediction_rows(
        self, recipe: OwnRecipe, split: Split, scores: Scores, base: Scores | None, label_names: Sequence[str]
    ) -> Iterable[Mapping[str, Any]]:
        """One JSON object a row of a split: what was expected, and what a model gave it and its base."""
