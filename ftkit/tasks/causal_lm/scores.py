"""What a language model gave each row, as it stands in predictions/."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftkit.data.dataset import Split
from ftkit.diagnosis.measurements import Unit
from ftkit.metrics.scores import Scores

unit: Unit = "token"

TEXT_SHOWN = 300
"""Characters of each text in predictions/."""


def prediction_rows(split: Split, final: Scores, base: Scores) -> Iterator[dict[str, Any]]:
    """One JSON object a row: the beginning of its texts, its targets, and its loss by the final and the base model."""
    columns = split.table.column_names
    losses, before = final.losses, base.losses
    for row in range(len(split)):
        texts = {name: _shortened(split.table[name][row].as_py()) for name in columns}
        measured = int(final.num_targets[row]) > 0
        yield texts | {
            "num_targets": int(final.num_targets[row]),
            "loss": round(float(losses[row]), 6) if measured else None,
            "base_loss": round(float(before[row]), 6) if measured else None,
        }


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + " ..."
