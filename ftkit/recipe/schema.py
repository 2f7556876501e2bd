"""What a recipe may say. The docstring under each field is its reference manual and its entry in the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftkit.methods.frozen import FrozenMethod
from ftkit.methods.full import FullMethod
from ftkit.methods.lora import LoraMethod
from ftkit.methods.prefix_tuning import PrefixTuningMethod
from ftkit.methods.prompt_tuning import PromptTuningMethod
from ftkit.methods.section import Section
from ftkit.recipe.data_section import DataSpec
from ftkit.recipe.generation_section import GenerationSpec
from ftkit.recipe.training_section import TrainingSpec

__all__ = [
    "DataSpec",
    "EvaluationSpec",
    "FrozenMethod",
    "FullMethod",
    "GenerationSpec",
    "LoraMethod",
    "Method",
    "ModelSpec",
    "PrefixTuningMethod",
    "PromptTuningMethod",
    "Recipe",
    "Section",
    "TrainingSpec",
]

CLASSIFICATION_METRICS = (
    "accuracy",
    "f1_macro",
    "f1",
    "precision",
    "recall",
    "matthews",
    "roc_auc",
    "confusion",
    "ece",
)
LANGUAGE_METRICS = ("loss", "perplexity", "bits_per_byte", "token_accuracy")
TEXT_METRICS = (
    "exact_match",
    "token_f1",
    "bleu",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "length_ratio",
    "limit_share",
    "edit_distance",
)
"""Metrics of generated texts beside their references."""
GENERATED_LABEL_METRICS = ("generated_accuracy", "generated_f1_macro", "no_label")
"""Metrics of labels that were generated as texts."""
METRICS = (*CLASSIFICATION_METRICS, *LANGUAGE_METRICS, *TEXT_METRICS, *GENERATED_LABEL_METRICS)
Metric = Annotated[str, Field(pattern=rf"^({'|'.join(METRICS)}|evaluate:.+)$")]


Method = Annotated[
    FrozenMethod | FullMethod | LoraMethod | PromptTuningMethod | PrefixTuningMethod, Field(discriminator="type")
]
"""The `method` section."""


class ModelSpec(Section):
    """The base checkpoint."""

    name_or_path: str = Field(min_length=1)
    """Hub id, folder, or `builtin:NAME` (`ftkit builtin` lists them). A relative folder is relative to the recipe."""

    revision: str | None = None
    """Branch, tag or commit of a hub model."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of what is not trained: a frozen encoder, the base under adapters or a prompt. `auto`: bfloat16 where
    the processor computes in it, else float32. What is trained is kept in float32; for mixed precision see
    training.bf16."""

    gguf_file: str | None = None
    """GGUF file in that folder or hub repository (task causal_lm). Its weights are dequantised to float32 once and kept
    in the cache."""

    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed (tasks causal_lm and seq2seq). `auto`: document by document where examples lie end to
    end, PyTorch's scaled_dot_product_attention elsewhere."""

    trust_remote_code: bool = False
    """Run Python code that comes with the checkpoint. Leave it off unless you have read that code."""


class EvaluationSpec(Section):
    """What is measured at the end, on validation and test."""

    metrics: list[Metric] = Field(min_length=1)
    """Classification: accuracy, f1_macro, f1, precision, recall, matthews, roc_auc, confusion, ece, or `evaluate:NAME`
    of that library. Language models: loss, perplexity, bits_per_byte, token_accuracy. Task seq2seq: those, and of the
    generated texts exact_match, token_f1, bleu, chrf, rouge1, rouge2, rougeL, rougeLsum, length_ratio, limit_share,
    edit_distance, or `evaluate:NAME`; with data.labels_as_text those of classification, and generated_accuracy,
    generated_f1_macro, no_label."""

    positive_label: str | int | None = None
    """Class that f1, precision and recall are about in a task of two classes. Default: the second label."""

    num_resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples behind each 95 % interval."""

    reference_file: str | None = None
    """Text that stands for what the base model knew, for `ftkit eval` to tell what was forgotten: a text file, or a
    file with a text column, relative to the recipe. Default: text that a causal language model writes itself, else
    prose that comes with Python."""

    score_base: bool = True
    """Let the untrained base generate too, and show its scores beside (task seq2seq)."""


class Recipe(Section):
    """A whole recipe: what to train, on what, how."""

    task: Literal["classification", "causal_lm", "seq2seq"]
    """classification: one label for each text or pair of texts. causal_lm: a language model goes on with a text.
    seq2seq: an encoder reads a text and a decoder writes another."""

    model: ModelSpec
    """The base checkpoint."""

    method: Method
    """What is trained: `frozen` (the head of a classifier only), `full`, `lora` or, of a language model,
    `prompt_tuning`; task seq2seq has `prefix_tuning` too."""

    data: DataSpec
    """The examples."""

    training: TrainingSpec
    """How it is trained."""

    evaluation: EvaluationSpec
    """What is measured."""

    generation: GenerationSpec = Field(default_factory=GenerationSpec)
    """How outputs are generated when they are measured (task seq2seq)."""
