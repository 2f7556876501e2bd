"""What a trainer hands back."""

from __future__ import annotations

from collections.abc import Mapping
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
        outputs: by split, of validation and test: logits (N, K) of a classifier, nats a target of each row (N,) of a
            language model.
    """

    metrics: dict[str, Any]
    facts: dict[str, Any]
    outputs: Mapping[str, npt.NDArray[Any]]
