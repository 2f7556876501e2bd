"""Numbers in, numbers out: metrics with bootstrap intervals. Knows no model, no tokenizer, no file."""

from ftkit.metrics.classification import METRICS, evaluate_classification
from ftkit.metrics.language import LANGUAGE_METRICS, LanguageScores, evaluate_language

__all__ = ["LANGUAGE_METRICS", "METRICS", "LanguageScores", "evaluate_classification", "evaluate_language"]
