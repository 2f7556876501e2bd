"""What a trainer hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Trained:
    """A finished training; the model itself lies in the run.

    Attributes:
        logits: (N, K) by split name, for validation and test, of the model that was kept.
        facts: what the manifest and the model card say of the training, JSON-able.
    """

    logits: dict[str, npt.NDArray[np.float32]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """A run whose model, metrics and predictions are written.

    Attributes:
        metrics: by split, as in metrics.json.
        facts: of the training, as in the manifest.
        logits: (N, K) of validation and test.
    """

    metrics: dict[str, Any]
    facts: dict[str, Any]
    logits: dict[str, npt.NDArray[np.float32]]
