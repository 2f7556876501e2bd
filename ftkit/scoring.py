"""Model and texts in, per-example scores out, in eval mode, the same way for every split and every model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Batch = tuple[npt.NDArray[np.int64], Mapping[str, npt.NDArray[np.int64]]]


def score_logits(
    module: nn.Module,
    batches: Iterable[Batch],
    *,
    num_rows: int,
    num_labels: int,
    device: torch.device,
    advance: Callable[[int], None] = lambda _rows: None,
) -> npt.NDArray[np.float32]:
    """Logits (N, K) of a classifier.

    Args:
        module: model inputs (B, T) -> logits (B, K); in eval mode.
        batches: rows and their model inputs, each row once, in any order.
        num_rows: N.
        num_labels: K.
        device: where the module lies.
        advance: called with the number of rows just scored.
    """
    logits = np.zeros((num_rows, num_labels), dtype=np.float32)
    with torch.inference_mode():
        for rows, inputs in batches:
            tensors = {name: torch.from_numpy(ids).to(device) for name, ids in inputs.items()}
            logits[rows] = module(**tensors).float().cpu().numpy()
            advance(len(rows))
    return logits


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities (N, K) of logits (N, K), in float64; each row sums to 1."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    probabilities: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return probabilities
