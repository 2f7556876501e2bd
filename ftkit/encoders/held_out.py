"""The rows that judge a head while it is fitted: those of a validation set, or the training rows out of fold."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ftkit.encoders.heads import Head
from ftkit.encoders.rows import FeatureRows, row_logits
from ftkit.encoders.scores import predict_logits


class HeldOut(Protocol):
    """Rows that a head is judged by, and the candidates that may learn from a row.

    Attributes:
        labels: of the rows (N,).
    """

    labels: npt.NDArray[np.int64]

    def logits(self, head: Head, *, device: torch.device) -> torch.Tensor:
        """Logits (P, N, K) of every row under each of P choices."""

    def kept(self, choice: int) -> int:
        """The candidate that stands for a choice when it is kept."""

    def learns(self, folds: torch.Tensor) -> torch.Tensor | None:
        """Which candidates learn from training rows with these folds (B,): booleans (C, B), or None for all."""


class ValidationRows:
    """A set of its own: every candidate learns from every training row, and is a choice."""

    def __init__(self, rows: FeatureRows) -> None:
        self.rows = rows
        self.labels = rows.labels

    def logits(self, head: Head, *, device: torch.device) -> torch.Tensor:
        """Logits (P, N, K) of every row and candidate."""
        return predict_logits(head, self.rows, device=device)

    def kept(self, choice: int) -> int:
        """The same."""
        return choice

    def learns(self, folds: torch.Tensor) -> None:  # noqa: ARG002
        """All."""
        return


class NothingHeldOut:
    """No rows: the one candidate learns from every training row, and nothing judges it."""

    labels = np.zeros(0, dtype=np.int64)

    def logits(self, head: Head, *, device: torch.device) -> torch.Tensor:  # noqa: ARG002
        """Of no row (1, 0, 0)."""
        return torch.zeros(1, 0, 0)

    def kept(self, choice: int) -> int:
        """The same."""
        return choice

    def learns(self, folds: torch.Tensor) -> None:  # noqa: ARG002
        """All."""
        return


class OutOfFold:
    """The training rows, each judged by candidates that did not learn from its fold.

    Of F folds a head has P * (F + 1) candidates, in groups of P: group f < F learns from the rows of the other folds,
    the last group from all. Each takes its share of the same steps, so that the step which is best out of fold is the
    step to keep of the last group.

    Args:
        rows: the training rows, with folds 0 to F - 1.
        num_candidates: P * (F + 1).
    """

    def __init__(self, rows: FeatureRows, *, num_candidates: int) -> None:
        self.rows = rows
        self.labels = rows.labels
        self.num_folds = rows.num_folds
        self.num_choices = num_candidates // (self.num_folds + 1)

    def logits(self, head: Head, *, device: torch.device) -> torch.Tensor:
        """Logits (P, N, K) of every row under each choice, by the candidates that did not learn from it."""
        head.eval()
        blocks = []
        with torch.inference_mode():
            for block in self.rows.blocks():
                order = torch.argsort(block.folds, stable=True)
                parts = torch.split(order, torch.bincount(block.folds, minlength=self.num_folds).tolist())
                found = [
                    row_logits(head, block.take(rows), device=device, candidates=self._group(fold)).float().cpu()
                    for fold, rows in enumerate(parts)
                ]
                blocks.append(torch.cat(found, dim=1)[:, torch.argsort(order)])
        return torch.cat(blocks, dim=1)

    def _group(self, fold: int) -> slice:
        return slice(fold * self.num_choices, (fold + 1) * self.num_choices)

    def kept(self, choice: int) -> int:
        """The candidate that learnt from all rows."""
        return self.num_folds * self.num_choices + choice

    def learns(self, folds: torch.Tensor) -> torch.Tensor:
        """Those of the other folds, and those of all."""
        groups = torch.arange(self.num_folds + 1, device=folds.device).repeat_interleave(self.num_choices)
        return groups[:, None] != folds[None, :]
