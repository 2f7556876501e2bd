"""A language model's scores on a split: the same way during training, at the end, and for the base beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ftkit.data.dataset import Split
from ftkit.inputs.batching import token_budget_batches
from ftkit.inputs.sequences import Sequences, Tokenized
from ftkit.metrics.scores import Scores
from ftkit.models.scoring import TokenBatch, score_tokens
from ftkit.progress import Reporter
from ftkit.training.trainer import Batching

TOKENS_A_BATCH = {"cpu": 2_048, "cuda": 16_384}
"""Tokens scored together; on a CPU more of them are no faster, and logits of a batch are never held whole."""


@dataclass(frozen=True)
class Scorer:
    """How splits are scored.

    Attributes:
        batching: how their sequences are laid out; its max_tokens is not used.
        device: where the model lies.
        reporter: hears of progress.
    """

    batching: Batching
    device: torch.device
    reporter: Reporter

    def split(self, model: Any, split: Split, tokenized: Tokenized, *, what: str = "scoring") -> Scores:
        """Scores of one split, summed by its rows."""
        sequences = tokenized.sequences
        with self.reporter.track(f"{what} {split.name}", total=len(sequences)) as advance:
            return score_sequences(
                model,
                sequences,
                num_rows=len(split),
                batching=self.batching,
                device=self.device,
                advance=advance,
            )

    def pieces(self, model: Any, sequences: Sequences, *, what: str, per_token: bool = False) -> Scores:
        """Scores of some sequences, each by itself: (N,) for N sequences; with the loss of each target where asked."""
        apart = replace(sequences, rows=np.arange(len(sequences)))
        with self.reporter.track(what, total=len(sequences)) as advance:
            return score_sequences(
                model,
                apart,
                num_rows=len(sequences),
                batching=self.batching,
                device=self.device,
                per_token=per_token,
                advance=advance,
            )


def score_sequences(
    model: Any,
    sequences: Sequences,
    *,
    num_rows: int,
    batching: Batching,
    device: torch.device,
    per_token: bool = False,
    advance: Callable[[int], None] = lambda _sequences: None,
) -> Scores:
    """Score every target of some sequences.

    Args:
        model: a causal language model; scored in eval mode.
        sequences: N of them, each of one row.
        num_rows: documents or examples D that they come from.
        batching: how they are laid out; its max_tokens is not used.
        device: where the model lies.
        per_token: keep each target's loss too, in the order of the sequences.
        advance: called with the number of sequences just scored.

    Returns:
        Sums by row, (D,); zeros for rows without a target.
    """
    max_tokens = TOKENS_A_BATCH.get(device.type, TOKENS_A_BATCH["cuda"])

    def batches() -> Iterator[TokenBatch]:
        for rows in token_budget_batches(sequences.lengths, max_tokens=max_tokens):
            taken = sequences.take(rows)
            owners = np.repeat(rows, taken.lengths)
            yield TokenBatch(batching.arrays(sequences, rows), owners[taken.learnt], taken.special[taken.learnt])

    found = score_tokens(
        model, batches(), num_sequences=len(sequences), device=device, per_token=per_token, advance=advance
    )
    assert found.text_nll is not None, "targets are tokens"

    def by_row(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.bincount(sequences.rows, weights=values, minlength=num_rows).astype(np.float64, copy=False)

    return Scores(
        nll=by_row(found.nll),
        num_targets=by_row(found.num_targets).astype(np.int64),
        num_correct=by_row(found.num_correct).astype(np.int64),
        text_nll=by_row(found.text_nll),
        text_bytes=by_row(text_bytes(sequences)).astype(np.int64),
        token_nll=found.token_nll,
    )


def text_bytes(sequences: Sequences) -> npt.NDArray[np.int64]:
    """Bytes of text that the targets of each sequence stand for, (N,)."""
    counted = np.where(sequences.learnt & ~sequences.special, sequences.num_bytes, 0).astype(np.int64)
    sums = np.concatenate([[0], np.cumsum(counted)])
    found: npt.NDArray[np.int64] = sums[sequences.offsets[1:]] - sums[sequences.offsets[:-1]]
    return found


def mean_scores(scores: Scores) -> dict[str, float]:
    """Mean loss of a target in nats (`nll`) and share of targets that were the likeliest token, over all rows."""
    num_targets = max(1, int(scores.num_targets.sum()))
    return {
        "nll": float(scores.nll.sum()) / num_targets,
        "token_accuracy": float(scores.num_correct.sum()) / num_targets,
    }
