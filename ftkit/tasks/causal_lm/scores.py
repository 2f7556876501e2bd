"""What a language model gave each row, as it stands in predictions/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Split
from ftkit.diagnosis.measurements import Unit
from ftkit.metrics.scores import Scores
from ftkit.tasks.task import ReadBack

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


def read_back(path: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
    """Load a finetuned language model, score rows, and let it go on from the first row's prompt."""
    from ftkit.data.prompting import Prompting
    from ftkit.decoding.writer import first_words, load_with_form
    from ftkit.inputs.sequences import evaluation_sequences
    from ftkit.progress import Silent
    from ftkit.training.prepared import make_scorable
    from ftkit.training.scores import Scorer

    saved = load_with_form(path)
    assert saved.prompting is not None, "else it is refused"
    written = first_words(saved, rows[0])
    split = Split.of_rows("validation", rows)
    tokens = evaluation_sequences(saved.tokenizer, split, Prompting.from_dict(saved.prompting), max_length=max_length)
    scorer = Scorer(make_scorable(saved.model, saved.tokenizer), saved.device, Silent())
    return ReadBack(scorer.split(saved.model, split, tokens).losses, [written], [])
