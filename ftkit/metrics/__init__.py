"""Numbers and strings in, numbers with intervals out. Knows no model, no tokenizer, no file."""

from ftkit.metrics.classification import METRICS, evaluate_classification
from ftkit.metrics.generated_labels import GENERATED_LABEL_METRICS, evaluate_generated_labels, match_labels
from ftkit.metrics.language import LANGUAGE_METRICS, evaluate_language
from ftkit.metrics.scores import Scores
from ftkit.metrics.texts import ROW_METRICS, TEXT_METRICS, evaluate_texts, score_rows

__all__ = [
    "GENERATED_LABEL_METRICS",
    "LANGUAGE_METRICS",
    "METRICS",
    "ROW_METRICS",
    "TEXT_METRICS",
    "Scores",
    "evaluate_classification",
    "evaluate_generated_labels",
    "evaluate_language",
    "evaluate_texts",
    "match_labels",
    "score_rows",
]
