"""What a classifier gave each row, as it stands in predictions/."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split
from ftkit.diagnosis.measurements import Unit
from ftkit.metrics.predictions import describe_prediction

unit: Unit = "example"


def prediction_rows(
    split: Split, probabilities: npt.NDArray[np.float64], *, label_names: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """One JSON object a row: the text, what was expected, and what `describe_prediction` says."""
    names = [name for name in ("text", "text_pair") if name in split.table.column_names]
    for row, (probability, label) in enumerate(zip(probabilities, split.labels, strict=True)):
        texts = {name: split.table[name][row].as_py() for name in names}
        yield texts | {"expected": label_names[label]} | describe_prediction(probability, label_names=label_names)
