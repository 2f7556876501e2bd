"""What a model gave each row of a set: the one form in which every floor hands losses, logits and outputs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
IGNORED = -100
"""Label of a token that is no target, as torch's cross-entropy has it."""
PROBE_ROWS = 500
"""Training examples that are scored at every evaluation; differences of 0.05 nats show among them, at little cost."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model wrote for the G distinct sources of a set.

    Attributes:
        first_rows: the first row of each source (G,).
        references: texts that are right, for each source.
        texts: the output of each source, without special tokens.
        num_tokens: new tokens of each (G,).
        at_limit: whether each was cut at its limit (G,).
    """

    first_rows: Integers
    references: list[list[str]]
    texts: list[str]
    num_tokens: Integers
    at_limit: NDArray[np.bool_]

    def of_rows(self, rows: Integers) -> Outputs:
        """The outputs for sources whose first row is among some rows (n,), ascending, numbered anew by these."""
        there = np.flatnonzero(np.isin(self.first_rows, rows))
        return Outputs(
            np.searchsorted(rows, self.first_rows[there]),
            [self.references[place] for place in there],
            [self.texts[place] for place in there],
            self.num_tokens[there],
            self.at_limit[there],
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """What one model gave N rows, in eval mode; a row is an example, a document, or a piece of one.

    A target is what is predicted: the label of a row, or a token from those before it. Special tokens (the end of a
    document, the marks of a chat) are targets without text.

    Attributes:
        nll: negative log-likelihood of a row's targets, summed, in nats (N,).
        num_targets: targets of it (N,).
        num_correct: targets that the model put first (N,).
        text_nll: of the targets that stand for text, in nats (N,); None where targets are labels.
        text_bytes: UTF-8 bytes of that text (N,); None where that is not known.
        token_nll: of every target by itself, those of row n at [num_targets[:n].sum() : num_targets[:n + 1].sum()];
            None unless asked for.
        logits: of K labels, each row's up to a constant (N, K); None where there are no labels, or they are not kept.
        outputs: what the model wrote; None where it was not let write.
    """

    nll: Floats
    num_targets: Integers
    num_correct: Integers
    text_nll: Floats | None = None
    text_bytes: Integers | None = None
    token_nll: NDArray[np.float32] | None = None
    logits: NDArray[np.floating[Any]] | None = None
    outputs: Outputs | None = None

    def __len__(self) -> int:
        return len(self.nll)

    @property
    def loss(self) -> float:
        """Mean nats a target, over all rows; NaN where there is no target."""
        targets = self.num_targets.sum()
        return float(self.nll.sum() / targets) if targets else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of the targets that were put first; NaN where there is no target."""
        targets = self.num_targets.sum()
        return float(self.num_correct.sum() / targets) if targets else float("nan")

    @property
    def losses(self) -> Floats:
        """Mean nats a target of each row (N,); NaN for a row without a target."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.nll / self.num_targets, dtype=np.float64)

    @property
    def probabilities(self) -> Floats:
        """Of each label (N, K)."""
        assert self.logits is not None, "asked only where there are labels"
        return softmax(self.logits)

    def take(self, rows: Integers) -> Scores:
        """The losses of some rows."""
        return Scores(self.nll[rows], self.num_targets[rows], self.num_correct[rows])

    def of_rows(self, rows: Integers) -> Scores:
        """Everything that is known of some rows (n,), ascending; but for losses of single targets."""

        def some(values: NDArray[Any] | None) -> Any:
            return None if values is None else values[rows]

        return Scores(
            self.nll[rows],
            self.num_targets[rows],
            self.num_correct[rows],
            text_nll=some(self.text_nll),
            text_bytes=some(self.text_bytes),
            logits=some(self.logits),
            outputs=None if self.outputs is None else self.outputs.of_rows(rows),
        )


NO_SCORES = Scores(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
"""Of no rows."""


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """One evaluation of the training.

    Attributes:
        step: optimizer steps done; 0 is the model before training.
        epoch: passes over the training set done.
        rate_mass: learning rates of all steps done, summed.
        train: of the train probe.
        validation: of the validation probe, the same examples at every point.
    """

    step: int
    epoch: float
    rate_mass: float
    train: Scores
    validation: Scores


def softmax(logits: NDArray[np.floating[Any]]) -> Floats:
    """Probabilities (N, K) of logits (N, K), in float64; each row sums to 1."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    probabilities: Floats = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def scores_of_logits(logits: NDArray[np.float32], labels: Integers) -> Scores:
    """Plain cross-entropy of logits (N, K) against labels (N,): without class weights, without label smoothing."""
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    given = exact[np.arange(len(labels)), labels]
    nll = np.log(np.exp(exact).sum(axis=1)) - given
    hits = (logits.argmax(axis=1) == labels).astype(np.int64)
    return Scores(nll, np.ones(len(labels), dtype=np.int64), hits)


def made_up_scores(num_rows: int, *, outputs: Outputs | None = None, num_labels: int = 0) -> Scores:
    """Scores of a model that there is not, to rehearse a measurement with."""
    one = np.ones(num_rows)
    count = one.astype(np.int64)
    return Scores(one, count, count, one, count, logits=np.eye(num_rows, num_labels), outputs=outputs)
