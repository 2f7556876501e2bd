"""What is evaluated: a run or a model, its data, and the fixed examples on which everything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ftkit.data.dataset import Split, Splits
from ftkit.diagnosis.measurements import (
    Classes,
    DomainGap,
    Forgetting,
    LabelNoise,
    Measurements,
    Model,
    Overlap,
    Reproduction,
    Set,
    Trial,
)
from ftkit.diagnosis.report import DocumentLoss
from ftkit.metrics.scores import CurvePoint, Scores
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.placement import choose_device
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run
from ftkit.training.probes import probe_rows, validation_probe_rows

Effort = Literal["quick", "standard", "thorough"]
TEST_ROWS = {"quick": 300, "standard": 1_000, "thorough": 5_000}
"""Test rows that are scored; drawn with the seed where there are more."""
FEW_GROUPS = 50
"""Below it examples are resampled one by one, whatever they are parts of."""
REFERENCE_DOCUMENTS = {"quick": 120, "standard": 300, "thorough": 600}


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Attributes:
        splits: its data, whole.
        checkpoint: its base model; `model_dir`, the kept one.
        run: None for a model that ftkit did not train.
        curve: evaluations of the training; empty where there is no record.
    """

    recipe: Recipe
    splits: Splits
    checkpoint: Checkpoint
    model_dir: Path
    run: Run | None
    curve: Sequence[CurvePoint]
    effort: Effort
    reporter: Reporter

    @property
    def seed(self) -> int:
        """Of every draw."""
        return self.recipe.training.seed

    @property
    def device(self) -> torch.device:
        """Where models are scored."""
        return choose_device(use_cpu=self.recipe.training.use_cpu)

    @property
    def trust(self) -> bool:
        """Whether code that comes with a checkpoint may run."""
        return self.recipe.model.trust_remote_code

    @property
    def last_step(self) -> int | None:
        """Optimizer steps done."""
        return self.curve[-1].step if self.curve else self.fit.get("num_steps")

    @property
    def best_step(self) -> int | None:
        """Step of the best checkpoint by the recipe's metric; None where it is not known."""
        return self.fit.get("best_step") or None

    @property
    def kept(self) -> Model:
        """Which weights lie in model/."""
        return "best" if self.recipe.training.load_best_model_at_end else "final"

    @property
    def other(self) -> Model:
        """Which of the two do not lie there."""
        return "final" if self.kept == "best" else "best"

    @property
    def one_model(self) -> bool:
        """Whether the best and the last weights are the same."""
        return self.run is not None and self.best_step is not None and self.best_step == self.last_step

    @property
    def fit(self) -> dict[str, Any]:
        """What the manifest says of the training; empty without a run."""
        if self.run is None:
            return {}
        found: dict[str, Any] = self.run.manifest().get("training", {}).get("fit", {})
        return found

    def rows_of(self, which: Set, num_rows: int) -> npt.NDArray[np.int64]:
        """Numbers of the examples of a set that are scored, in their order: the probes of the training, and of test
        as many as the effort allows."""
        if which != "test":
            return (probe_rows if which == "train" else validation_probe_rows)(num_rows, seed=self.seed)
        drawn = np.random.default_rng([self.seed, 7]).permutation(num_rows)
        return np.sort(drawn[: TEST_ROWS[self.effort]])

    def named_reference(self) -> Path | None:
        """The user's own reference text."""
        named = self.recipe.evaluation.reference_file
        return None if named is None else Path(named)


def take(split: Split, rows: npt.NDArray[np.int64]) -> Split:
    """Some rows of a split, in that order."""
    return split.with_table(split.table.take(rows))


def some(split: Split, limit: int, *, seed: int) -> Split:
    """At most `limit` rows of a split, drawn with the seed, in their order."""
    return split if len(split) <= limit else take(split, some_rows(len(split), limit, seed=seed))


def some_rows(num_rows: int, limit: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Numbers of at most `limit` rows, drawn with the seed, in their order."""
    if num_rows <= limit:
        return np.arange(num_rows)
    return np.sort(np.random.default_rng([seed, 7]).choice(num_rows, limit, replace=False))


@dataclass
class Gathered:
    """What has been measured so far, on its way to `Measurements` and to the report.

    Attributes:
        absent: what is not there -> why.
        sizes: set -> rows of the whole set.
        texts: set -> text of each scored example.
        targets: set -> its target or label, as text.
        answers: what the kept model answered on validation, as text.
        row_numbers: set -> number of each scored example in its split.
        documents: the reference, document by document.
        notes: sentences for people.
    """

    losses: dict[tuple[Model, Set], Scores] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    baselines: dict[str, Mapping[Set, Scores]] = field(default_factory=dict)
    groups: dict[Set, npt.NDArray[np.int64]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    classes: Classes | None = None
    overlap: Overlap | None = None
    test_overlap: Overlap | None = None
    noise: LabelNoise | None = None
    forgetting: Forgetting = field(default_factory=lambda: Forgetting("unknown", "not measured"))
    domain: DomainGap | None = None
    reproduction: Reproduction | None = None
    trials: list[Trial] = field(default_factory=list)
    drift: dict[str, float] = field(default_factory=dict)
    sizes: dict[Set, int] = field(default_factory=dict)
    texts: dict[Set, list[str]] = field(default_factory=dict)
    targets: dict[Set, list[str]] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    row_numbers: dict[Set, npt.NDArray[np.int64]] = field(default_factory=dict)
    documents: list[DocumentLoss] = field(default_factory=list)
    bytes_of: dict[Set, npt.NDArray[np.int64]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def measurements(self, **known: Any) -> Measurements:
        """What was gathered, as the diagnosis takes it, with what is known besides."""
        names = {one.name for one in fields(Measurements)} & {one.name for one in fields(self)}
        return Measurements(**known, **{name: getattr(self, name) for name in names})

    def keep(self, model: Model, scored: Mapping[Set, Scores]) -> None:
        """Note what a model gave each set."""
        self.losses |= {(model, which): scores for which, scores in scored.items()}

    def keep_set(
        self,
        which: Set,
        rows: npt.NDArray[np.int64],
        *,
        size: int,
        texts: list[str],
        targets: list[str],
        groups: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Note which examples of a set are scored.

        Args:
            rows: number of each example in its split (N,).
            groups: what each example is a part of; few groups are taken for independent examples, or nothing could be
                said of a single long text.
        """
        self.row_numbers[which], self.sizes[which] = rows, size
        self.texts[which], self.targets[which] = texts, targets
        if groups is not None and FEW_GROUPS <= len(np.unique(groups)) < len(groups):
            self.groups[which] = np.asarray(groups, dtype=np.int64)

    def refuse_other_sizes(self, which: Set, losses: Scores) -> bool:
        """Whether these are of other examples than those that were scored already."""
        return any(len(known) != len(losses) for (_, other), known in self.losses.items() if other == which)
