"""What has been measured of a run, as numbers; where something was not measured, the reason stands beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ftkit.methods.section import Trains
from ftkit.metrics.scores import CurvePoint, Floats, Integers, Scores

if TYPE_CHECKING:
    from ftkit.recipe.training_section import TrainingSpec

Unit = Literal["example", "token"]
"""What a loss is the mean over; an example is one where its target is a label."""
Model = Literal["base", "best", "final"]
"""The untrained model, the best checkpoint by validation, the weights after the last step."""
Set = Literal["train", "validation", "test", "reference"]
"""The fixed probe of training examples, validation, test, and text that tells what the base knew."""
MODELS: tuple[Model, ...] = ("base", "best", "final")
TrialKind = Literal["rate", "faster", "slower", "unfrozen", "rank", "longer"]
LEAST_REPRODUCED = 8
"""Tokens, at least, that are written word for word for an example to count as reproduced."""
SETS: tuple[Set, ...] = ("train", "validation", "test", "reference")


@dataclass(frozen=True, eq=False)
class Classes:
    """What the kept model answered on the validation set of a classifier.

    Attributes:
        names: K label names; `train_counts`, training rows of each.
        labels: expected (N,).
        probabilities: (N, K).
    """

    names: tuple[str, ...]
    labels: Integers
    probabilities: Floats
    train_counts: Integers

    @property
    def predicted(self) -> Integers:
        """The likeliest label of each row (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Overlap:
    """Rows of a held-out set that are in the training set too.

    Attributes:
        exact: the text is the same but for case and spacing (N,).
        near: the text and its target are nearly those of a training row, and it is not exact (N,).
        near_rate_of_chance: share of training rows that have such a neighbour among the other training rows: what data
            made from templates have by nature.
        partners: the training row, or -1 (N,).
    """

    exact: NDArray[np.bool_]
    near: NDArray[np.bool_]
    near_rate_of_chance: float
    partners: Integers


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """What classifiers that did not see a row's label think of it.

    Attributes:
        labels: given, in the training set (N,).
        out_of_fold: probabilities (N, K) of cross-validated classifiers.
        suspects: rows whose label they contradict with confidence, the worst first (S,).
        conflicts: rows whose text occurs with another label too (N,).
        rows: number of each of the N rows in the training set (N,).
    """

    labels: Integers
    out_of_fold: Floats
    suspects: Integers
    conflicts: NDArray[np.bool_]
    rows: Integers


@dataclass(frozen=True, eq=False)
class Forgetting:
    """How much of what the base knew is gone.

    Attributes:
        kind: `kl`: text sampled from the base, so that the rise is the KL divergence from base to tuned;
            `reference`: a text that the recipe names; `denoising`: a reference text with holes; `masked`: masked
            tokens of a reference text, read out by the base's own head; `none`: zero by construction.
        reason: why it is zero by construction, or could not be measured.
        readout_lost: of a tuned encoder: share of the base's representation of the reference (variance) that can no
            longer be read out linearly; None where that does not apply.
        removable: the change is outside of the base's weights and can be taken off (a prompt).
    """

    kind: Literal["kl", "reference", "denoising", "masked", "none", "unknown"]
    reason: str = ""
    readout_lost: float | None = None
    removable: bool = False


@dataclass(frozen=True, eq=False)
class DomainGap:
    """How far the data lie from what the base knows.

    Attributes:
        validation_nats: nats of the base for each validation document, (N,), and what they are summed over.
        validation_units: targets or bytes (N,).
        reference_nats: for each reference document (M,).
        reference_units: (M,).
        tokens_a_word: tokens that a word of validation takes, over what a word of the reference takes; None where the
            texts have no words.
        unit: what a nat is counted per: `token` or `byte`.
        validation_letters: of all validation documents' text, as letters of an alphabet; 0 where that is not known.
        reference_letters: of all reference documents' text.
    """

    validation_nats: Floats
    validation_units: Integers
    reference_nats: Floats
    reference_units: Integers
    tokens_a_word: float | None
    unit: Literal["token", "byte"] = "token"
    validation_letters: float = 0.0
    reference_letters: float = 0.0

    @classmethod
    def of_words(cls, tokens_a_word: float) -> DomainGap:
        """Where nothing but the tokens of words is known."""
        nothing = np.zeros(0)
        return cls(nothing, nothing.astype(np.int64), nothing, nothing.astype(np.int64), tokens_a_word)


@dataclass(frozen=True, eq=False)
class Reproduction:
    """Completions that the kept model writes word for word when it is given the beginning.

    Attributes:
        train: of the train probe (N,); `validation`, of as many validation examples.
    """

    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trial:
    """A short training beside the run: what would another setting do?

    Attributes:
        kind: `rate`: ten times the learning rate; `faster`: a hundred times; `slower`: a tenth; `unfrozen`: every
            weight; `rank`: a higher rank; `longer`: three times the length.
        words: what was done, for people.
        train: of the train probe afterwards; `validation`, of that of validation.
        change: recipe keys and values of the trial.
    """

    kind: TrialKind
    words: str
    train: Scores
    validation: Scores
    change: Mapping[str, object]


@dataclass(frozen=True)
class Setting:
    """What of the recipe advice is computed from; None where it does not apply or is not known.

    Attributes:
        num_steps: optimizer steps done; `num_epochs_done`, passes.
        usual_rate: peak that the method usually takes with a model of this size, about.
        patience: of early stopping.
        load_best: whether the best checkpoint is kept.
    """

    num_steps: int | None = None
    max_steps: int | None = None
    num_train_epochs: float | None = None
    learning_rate: float | None = None
    usual_rate: float | None = None
    warmup_steps: float | None = None
    weight_decay: float | str | None = None
    patience: int | None = None
    load_best: bool = True
    num_epochs_done: float | None = None
    class_weights: object = "none"

    @classmethod
    def of(cls, training: TrainingSpec, **known: Any) -> Setting:
        """What the training section of a recipe says, with what is known of the training."""
        return cls(
            max_steps=training.max_steps,
            num_train_epochs=training.num_train_epochs,
            learning_rate=training.learning_rate,
            warmup_steps=training.warmup_steps,
            weight_decay=training.weight_decay,
            patience=training.early_stopping_patience,
            load_best=training.load_best_model_at_end,
            class_weights=training.weighs_classes(),
            **known,
        )


@dataclass(frozen=True, eq=False)
class Measurements:
    """Everything that a verdict is made from.

    Attributes:
        unit: what a loss is the mean over: `example` where each has one target, its label, else `token`.
        losses: by model and set; the same examples in the same order for every model of a set. `best` is the kept
            model's where the recipe keeps the best.
        absent: `final/test` -> why there is no such entry in `losses`.
        curve: evaluations by step, the first before training where it was taken.
        baselines: name -> set -> what a model without finetuning gives: majority, tfidf, linear_probe, copy_source, ...
        groups: set -> group of each example (N,), which are resampled as wholes; absent where each is its own.
        faults: what makes the run invalid, exactly: a sentence each.
        overlap: validation against train; None with a reason in `absent["overlap"]`.
        test_overlap: test against train.
        repeats: share of training rows that repeat an earlier one.
        noise: of a classifier's training labels; None with a reason in `absent["noise"]`.
        domain: None with a reason in `absent["domain"]`.
        reproduction: None where it was not tried.
        drift: relative distance of the kept weights from the base's, by group of layers; empty where unknown.
        validation_texts: how many texts its examples of validation are pieces of; None where each is a row.
    """

    unit: Unit
    trains: Trains
    losses: Mapping[tuple[Model, Set], Scores]
    setting: Setting = field(default_factory=Setting)
    absent: Mapping[str, str] = field(default_factory=dict)
    curve: Sequence[CurvePoint] = ()
    baselines: Mapping[str, Mapping[Set, Scores]] = field(default_factory=dict)
    groups: Mapping[Set, Integers] = field(default_factory=dict)
    faults: Sequence[str] = ()
    classes: Classes | None = None
    overlap: Overlap | None = None
    test_overlap: Overlap | None = None
    repeats: float = 0.0
    noise: LabelNoise | None = None
    forgetting: Forgetting = field(default_factory=lambda: Forgetting("unknown", "not measured"))
    domain: DomainGap | None = None
    reproduction: Reproduction | None = None
    trials: Sequence[Trial] = ()
    drift: Mapping[str, float] = field(default_factory=dict)
    validation_texts: int | None = None
    seed: int = 0

    @property
    def nats(self) -> str:
        """The unit of its losses, in words."""
        return "nat an example" if self.unit == "example" else "nat a token"

    def rows(self, count: int) -> str:
        """So many examples of validation, in words."""
        what = "row" if self.validation_texts is None else "piece"
        return f"{count:,} validation {what}{'' if count == 1 else 's'}"

    def of(self, model: Model, which: Set) -> Scores | None:
        """What a model gave a set, or None."""
        return self.losses.get((model, which))

    @property
    def kept(self) -> Model:
        """Which model the run hands out."""
        return "best" if self.setting.load_best and ("best", "validation") in self.losses else "final"
