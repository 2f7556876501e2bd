"""What a language model gave each row: how it is measured, and written into predictions/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Split
from ftkit.data.duplicates import text_columns
from ftkit.data.prompting import Prompting
from ftkit.diagnosis.measurements import Unit
from ftkit.errors import UserError
from ftkit.evaluation.own_metrics import AnswerKeys
from ftkit.inputs.documents import evaluation_sequences
from ftkit.metrics.language import evaluate_language
from ftkit.metrics.scores import Scores
from ftkit.models.causal import refuse_other_kinds
from ftkit.models.saved_lm import base_under
from ftkit.models.seq2seq import is_seq2seq
from ftkit.progress import Silent
from ftkit.tasks.causal_lm.recipe import CausalRecipe
from ftkit.tasks.task import ReadBack
from ftkit.training.scores import Scorer

in_pieces = True
unit: Unit = "token"
answer_keys: AnswerKeys | None = None
TEXT_SHOWN = 300
"""Characters of each text in predictions/."""


def metrics_of(recipe: CausalRecipe, split: Split, scores: Scores, label_names: Sequence[str]) -> dict[str, Any]:  # noqa: ARG001
    """Metrics of what a model gave a split, each with its interval."""
    return evaluate_language(
        scores,
        metrics=recipe.evaluation.metrics,
        num_resamples=recipe.evaluation.num_resamples,
        seed=recipe.training.seed,
    )


def prediction_rows(
    recipe: CausalRecipe,  # noqa: ARG001
    split: Split,
    scores: Scores,
    base: Scores | None,
    label_names: Sequence[str],  # noqa: ARG001
) -> Iterator[dict[str, Any]]:
    """One JSON object a row: the beginning of its texts, its targets, and its loss by the final and the base model."""
    assert base is not None, "a base writes too"
    columns = text_columns(split.table)
    losses, before = scores.losses, base.losses
    for row in range(len(split)):
        values = {name: split.table[name][row].as_py() for name in columns}
        texts = {name: _shortened(text) for name, text in values.items() if text is not None}
        measured = int(scores.num_targets[row]) > 0
        yield texts | {
            "num_targets": int(scores.num_targets[row]),
            "loss": round(float(losses[row]), 6) if measured else None,
            "base_loss": round(float(before[row]), 6) if measured else None,
        }


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + " ..."


def is_of(folder: Path) -> bool:
    """Whether the model in a folder goes on with texts."""
    base = base_under(folder)
    try:
        refuse_other_kinds(base)
    except UserError:
        return False
    return not is_seq2seq(base)


def read_back(path: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
    """Load a finetuned language model, score rows, and let it go on from the first row's prompt."""
    from ftkit.decoding.writer import first_words, load_with_form
    from ftkit.training.prepared import make_scorable

    saved = load_with_form(path)
    assert saved.prompting is not None, "else it is refused"
    written = first_words(saved, rows[0])
    split, prompting = Split.of_rows("validation", rows), Prompting(**saved.prompting)
    sequences = evaluation_sequences(saved.tokenizer, split, prompting, max_length=max_length).sequences
    make_scorable(saved.model)
    scores = Scorer(saved.device, Silent()).rows(saved.model, sequences, num_rows=len(split), what="scoring")
    return ReadBack(scores.losses, [written], [])
