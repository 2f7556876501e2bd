"""What a classifier gives each row: of a split, as it stands in predictions/, or of a file, as `ftkit predict` says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split
from ftkit.data.reading.rows import beside
from ftkit.diagnosis.measurements import Unit
from ftkit.evaluation.own_metrics import AnswerKeys
from ftkit.inputs.text import TokenizedTexts, tokenize_texts
from ftkit.inputs.unknown import unknown_warning
from ftkit.metrics.classification import evaluate_classification
from ftkit.metrics.predictions import describe_prediction
from ftkit.metrics.scores import Scores, scores_of_logits, softmax
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.classifier import Classifier, open_classifier
from ftkit.progress import Advance
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.tasks.task import ReadBack
from ftkit.training.scores import row_logits_of

in_pieces = False
unit: Unit = "example"
answer_keys: AnswerKeys | None = AnswerKeys("label", ("expected",), ("text", "text_pair"))
ROWS_AT_A_TIME = 4_096
"""Rows read, sorted by length and predicted together; what bounds memory."""
PREDICTED = ("label", "score", "scores")
AT_LEAST = 0.5
"""Score with which a label is one of several."""


def scored(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Scores:
    """Logits (N, K) and labels (N,) as what a model gave each row."""
    return replace(scores_of_logits(logits, labels), logits=logits)


def metrics_of(
    recipe: ClassificationRecipe, split: Split, scores: Scores, label_names: Sequence[str]
) -> dict[str, Any]:
    """Metrics of what a model gave a split, each with its interval.

    Raises:
        UserError: a metric that cannot be had or computed, or a label that does not exist.
    """
    positive = recipe.evaluation.positive_label
    return evaluate_classification(
        split.labels,
        scores.probabilities,
        label_names=label_names,
        metrics=recipe.evaluation.metrics,
        positive_label=None if positive is None else str(positive),
        num_resamples=recipe.evaluation.num_resamples,
        seed=recipe.training.seed,
    )


def prediction_rows(
    recipe: ClassificationRecipe,  # noqa: ARG001
    split: Split,
    scores: Scores,
    base: Scores | None,  # noqa: ARG001
    label_names: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """One JSON object a row: the text, what was expected, and what `describe_prediction` says."""
    names = [name for name in ("text", "text_pair") if name in split.table.column_names]
    for row, (probability, label) in enumerate(zip(scores.probabilities, split.labels, strict=True)):
        texts = {name: split.table[name][row].as_py() for name in names}
        described = describe_prediction(probability, label_names=tuple(label_names))
        yield texts | {"expected": label_names[label]} | described


@dataclass(frozen=True)
class TextRow:
    """A row to predict: its text or two texts, and all its columns."""

    text: str
    pair: str | None
    values: Mapping[str, object]


def predict_rows(
    classifier: Classifier,
    rows: Iterable[TextRow],
    *,
    advance: Advance = lambda _rows: None,
    say: Callable[[str], None] = lambda _message: None,
) -> Iterator[dict[str, Any]]:
    """Predictions in the order of the rows: each row's own columns, then `label`, `score` and `scores`.

    Of a model that gives a text several labels, `labels` are those with a score of 0.5 or more; of a regression the
    scores are its numbers. A column of the row that is called like one of those gets `input_` before its name.
    """
    several = classifier.answers == "several labels"
    taken = (*PREDICTED, "labels") if several else PREDICTED
    remaining, warned, num_blank = iter(rows), False, 0
    while chunk := list(itertools.islice(remaining, ROWS_AT_A_TIME)):
        tokens = _tokens(classifier, chunk)
        warning = unknown_warning(classifier.tokenizer, tokens.columns["input_ids"], whose="of these texts")
        if warning and not warned:
            say(f"warning: {warning}")
            warned = True
        num_blank += sum(not f"{row.text}{row.pair or ''}".strip() for row in chunk)
        for row, scores in zip(chunk, _scores(classifier, _logits(classifier, tokens, advance)), strict=True):
            said = describe_prediction(scores, label_names=classifier.label_names)
            if several:
                names = zip(classifier.label_names, scores.tolist(), strict=True)
                said["labels"] = [name for name, score in names if score >= AT_LEAST]
            yield beside(row.values, taken) | said
    if num_blank:
        say(f"warning: empty texts: {num_blank:,}; their labels are what the model says of nothing")


def _scores(classifier: Classifier, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Logits (N, K) to scores (N, K), as transformers' pipeline has them."""
    if classifier.answers == "one label":
        return softmax(logits)
    exact = logits.astype(np.float64)
    # a sigmoid that does not overflow
    return exact if classifier.answers == "numbers" else (1 + np.tanh(exact / 2)) / 2


def is_of(folder: Path) -> bool:
    """Whether the model in a folder gives labels."""
    return Checkpoint(str(folder), folder).is_classifier


def read_back(path: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:  # noqa: ARG001
    """Load a saved classifier and ask it about some rows; it knows its own length.

    Args: as the protocol has them.

    Raises:
        UserError: there is no classifier.
    """
    classifier = open_classifier(path, use_cpu=True)
    texts = [TextRow(row["text"], row.get("text_pair"), {}) for row in rows]
    logits = _logits(classifier, _tokens(classifier, texts))
    said = [prediction["label"] for prediction in predict_rows(classifier, texts)]
    return ReadBack(logits, said, classifier.label_names)


def _tokens(classifier: Classifier, rows: Sequence[TextRow]) -> TokenizedTexts:
    pairs = [row.pair or "" for row in rows] if any(row.pair is not None for row in rows) else None
    return tokenize_texts(
        classifier.tokenizer,
        [row.text for row in rows],
        pairs,
        max_length=classifier.max_length,
        long_texts=classifier.long_texts,
    )


def _logits(classifier: Classifier, tokens: TokenizedTexts, advance: Advance = lambda _rows: None) -> Any:
    """Logits (N, K) of some rows."""
    return row_logits_of(
        classifier.module,
        tokens,
        num_labels=len(classifier.label_names),
        device=next(classifier.module.parameters()).device,
        advance=advance,
    )
