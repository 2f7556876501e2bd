"""What a model gives examples: the same way during training, at the end, and for the base beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ftkit.inputs.examples import Arrays, Examples, Rows, TokenExamples
from ftkit.metrics.scores import Scores
from ftkit.models.scoring import TokenBatch, score_logits, score_tokens
from ftkit.progress import Advance, Reporter


@dataclass(frozen=True)
class Scorer:
    """Where models lie that are scored, and who hears of progress."""

    device: torch.device
    reporter: Reporter

    def examples(self, model: Any, examples: TokenExamples, *, what: str, per_token: bool = False) -> Scores:
        """Score every target once, in eval mode.

        Args:
            model: a language model or an encoder-decoder.
            examples: N of them.
            what: is done, for the progress.
            per_token: keep each target's loss too.

        Returns:
            Sums by example (N,).
        """
        batches = (
            TokenBatch(examples.arrays(rows), *examples.targets(rows)) for rows in examples.cut(self.device.type)
        )
        with self.reporter.track(what, total=len(examples)) as advance:
            found = score_tokens(
                model,
                batches,
                num_sequences=len(examples),
                device=self.device,
                per_token=per_token,
                advance=advance,
            )
        return replace(found, text_bytes=examples.text_bytes)

    def rows(self, model: Any, examples: TokenExamples, *, num_rows: int, what: str) -> Scores:
        """The same, summed by the row of the split that examples come from (num_rows,); zeros for a row without any."""
        found = self.examples(model, examples, what=what)

        def by_row(values: npt.NDArray[Any] | None) -> npt.NDArray[np.float64]:
            assert values is not None, "targets are tokens"
            return np.bincount(examples.rows, weights=values, minlength=num_rows).astype(np.float64, copy=False)

        return Scores(
            nll=by_row(found.nll),
            num_targets=by_row(found.num_targets).astype(np.int64),
            num_correct=by_row(found.num_correct).astype(np.int64),
            text_nll=by_row(found.text_nll),
            text_bytes=by_row(found.text_bytes).astype(np.int64),
        )


def row_logits_of(
    module: nn.Module,
    examples: Examples,
    *,
    num_labels: int,
    device: torch.device,
    advance: Advance = lambda _rows: None,
) -> npt.NDArray[np.float32]:
    """Logits (R, K) that a classifier gives R rows: of each the mean over its examples, which may be several windows.

    Args:
        module: model inputs (B, T) -> logits (B, K); in eval mode.
        examples: in batches as they suit the device.
        num_labels: K.
        device: where the module lies.
        advance: called with the number of rows of which the first example was just scored.
    """
    firsts = is_first(examples.rows)
    found = score_logits(
        module,
        ((rows, inputs_of(examples, rows)) for rows in examples.cut(device.type)),
        num_rows=len(examples),
        num_labels=num_labels,
        device=device,
        advance=lambda rows: advance(int(firsts[rows].sum())),
    )
    return mean_by_row(found, examples.rows)


def is_first(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which examples are the first of their row (N,), by the row of each, those of a row behind one another."""
    found: npt.NDArray[np.bool_] = np.diff(rows, prepend=-1) != 0
    return found


def mean_by_row(logits: npt.NDArray[np.float32], rows: Rows) -> npt.NDArray[np.float32]:
    """Logits of examples (N, K) to those of their rows (R, K): the mean over neighbours of one row.

    Example:
        >>> mean_by_row(np.array([[1.0], [4.0], [6.0]], dtype=np.float32), np.array([7, 9, 9])).tolist()
        [[1.0], [5.0]]
    """
    starts = np.flatnonzero(is_first(rows))
    if len(starts) == len(rows):
        return logits
    sums = np.add.reduceat(logits, starts, axis=0, dtype=np.float64)
    means: npt.NDArray[np.float32] = (sums / np.diff(starts, append=len(rows))[:, None]).astype(np.float32)
    return means


def inputs_of(examples: Examples, rows: Rows) -> Arrays:
    """The model inputs of some examples without their labels."""
    return {name: values for name, values in examples.arrays(rows).items() if name != "labels"}


def first_arrays(examples: Examples) -> Arrays:
    """The model inputs of the first two examples, with their labels."""
    return examples.arrays(np.arange(min(2, len(examples))))


def mean_scores(scores: Scores) -> dict[str, float]:
    """Mean loss of a target in nats (`nll`) and share of targets that were the likeliest token, over all rows."""
    num_targets = max(1, int(scores.num_targets.sum()))
    return {
        "nll": float(scores.nll.sum()) / num_targets,
        "token_accuracy": float(scores.num_correct.sum()) / num_targets,
    }
