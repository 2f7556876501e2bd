"""Numbers in, numbers out: metrics with bootstrap intervals. Knows no model, no tokenizer, no file."""

from ftkit.metrics.classification import METRICS, evaluate_classification

__all__ = ["METRICS", "evaluate_classification"]
