"""A saved language model read back: its losses on some rows, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.commands.smoke.reloading import ReadBack
from ftkit.errors import UserError
from ftkit.runs.run import Run, is_run

if TYPE_CHECKING:
    import torch

    from ftkit.data.dataset import Split
    from ftkit.metrics.scores import Scores
    from ftkit.models.saved_lm import SavedLM

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

    from ftkit.commands.generate import first_words
    from ftkit.data.dataset import Split
    from ftkit.models.saved_lm import load_saved_lm
    from ftkit.models.scoring import is_encoder_decoder

    folder = Run(model).model_dir if is_run(model) else model
    device = torch.device("cpu")
    saved = load_saved_lm(folder, dtype=torch.float32, device=device)
    if saved.prompting is None:
        raise UserError(f"{folder} does not say how examples are written", fix="it lacks prompting.json")
    split = Split("validation", pa.Table.from_pylist([dict(row) for row in rows]), str(folder))
    written = first_words(saved, rows[0], max_new_tokens=NEW_TOKENS)
    if is_encoder_decoder(saved.model):
        longest = Run(model).manifest()["training"]["max_target_length"] if is_run(model) else max_length
        scores = _score_pairs(saved, split, device, max_length=max_length, max_target_length=longest)
    else:
        scores = _score_documents(saved, split, device, max_length=max_length)
    return ReadBack(scores.losses, [written], [])


def _score_documents(saved: SavedLM, split: Split, device: torch.device, *, max_length: int) -> Scores:
    from ftkit.data.prompting import Prompting
    from ftkit.inputs.sequences import evaluation_sequences
    from ftkit.progress import Silent
    from ftkit.training.prepared import make_scorable
    from ftkit.training.scores import Scorer

    assert saved.prompting is not None, "refused before"
    tokens = evaluation_sequences(saved.tokenizer, split, Prompting.from_dict(saved.prompting), max_length=max_length)
    return Scorer(make_scorable(saved.model, saved.tokenizer), device, Silent()).split(saved.model, split, tokens)


def _score_pairs(
    saved: SavedLM, split: Split, device: torch.device, *, max_length: int, max_target_length: int
) -> Scores:
    from ftkit.inputs.pairs import tokenize_pairs
    from ftkit.progress import Silent
    from ftkit.training.pair_scoring import PairScorer
    from ftkit.training.prepared import make_scorable

    tokens = tokenize_pairs(saved.tokenizer, split, max_length=max_length, max_target_length=max_target_length)
    batching = make_scorable(saved.model, saved.tokenizer)
    return PairScorer(batching.pad_id, device, Silent()).targets(saved.model, tokens, what="scoring")
