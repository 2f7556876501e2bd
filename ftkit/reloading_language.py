"""A saved language model read back: its losses on some rows, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ftkit.errors import UserError
from ftkit.reloading import ReadBack
from ftkit.runs import Run, is_run

NEW_TOKENS = 16
"""Tokens that a language model is asked to write."""


def read_language_model(model: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
    """Load a finetuned language model, score rows, and let it go on from the first row's prompt.

    Args:
        model: a run or a model folder.
        rows: N rows, their columns as in the table of a split.
        max_length: tokens of an example.

    Raises:
        UserError: there is no language model, or its folder does not say how examples are written.
    """
    import pyarrow as pa
    import torch

    from ftkit.data.dataset import Split
    from ftkit.data.prompting import Prompting
    from ftkit.data.sequences import evaluation_sequences
    from ftkit.generation import first_words
    from ftkit.models.saved_lm import load_saved_lm
    from ftkit.progress import Silent
    from ftkit.training.language_model import make_scorable
    from ftkit.training.language_scoring import Scorer, loss_of_rows

    folder = Run(model).model_dir if is_run(model) else model
    device = torch.device("cpu")
    saved = load_saved_lm(folder, dtype=torch.float32, device=device)
    if saved.prompting is None:
        raise UserError(f"{folder} does not say how examples are written", fix="it lacks prompting.json")
    split = Split("validation", pa.Table.from_pylist([dict(row) for row in rows]), str(folder))
    tokens = evaluation_sequences(saved.tokenizer, split, Prompting.from_dict(saved.prompting), max_length=max_length)
    written = first_words(saved, rows[0], max_new_tokens=NEW_TOKENS)
    scores = Scorer(make_scorable(saved.model, saved.tokenizer), device, Silent()).split(saved.model, split, tokens)
    return ReadBack(loss_of_rows(scores), [written], [])
