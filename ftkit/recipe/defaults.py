"""Defaults that depend on task and method: a head on frozen features wants another learning rate than a whole model."""

from __future__ import annotations

from ftkit.recipe.generation_section import GenerationSpec

CLASSIFICATION_METRICS = ["accuracy", "f1_macro", "matthews", "ece"]
LANGUAGE_METRICS = ["perplexity", "bits_per_byte", "token_accuracy"]
SEQ2SEQ_METRICS = ["perplexity", "exact_match", "token_f1", "bleu", "chrf", "rougeL", "length_ratio", "limit_share"]
LABEL_TEXT_METRICS = ["accuracy", "f1_macro", "generated_accuracy", "generated_f1_macro", "no_label"]
"""Of task seq2seq where data.labels_as_text is true."""


def _defaults(
    *, epochs: int, rate: float, batch: int, scheduler: str, warmup: float, decay: object, bf16: object, metrics: object
) -> dict[str, object]:
    return {
        "training.num_train_epochs": epochs,
        "training.learning_rate": rate,
        "training.per_device_train_batch_size": batch,
        "training.lr_scheduler_type": scheduler,
        "training.warmup_steps": warmup,
        "training.weight_decay": decay,
        "training.bf16": bf16,
        "evaluation.metrics": metrics,
    }


DEFAULTS: dict[tuple[str, str], dict[str, object]] = {
    ("classification", "frozen"): _defaults(
        epochs=100,
        rate=1e-2,
        batch=256,
        scheduler="cosine",
        warmup=0,
        decay="auto",
        bf16=False,
        metrics=CLASSIFICATION_METRICS,
    ),
    ("classification", "full"): _defaults(
        epochs=3,
        rate=2e-5,
        batch=16,
        scheduler="linear",
        warmup=0.06,
        decay=0.01,
        bf16=False,
        metrics=CLASSIFICATION_METRICS,
    ),
    ("classification", "lora"): _defaults(
        epochs=5,
        rate=2e-4,
        batch=16,
        scheduler="linear",
        warmup=0.06,
        decay=0.0,
        bf16=False,
        metrics=CLASSIFICATION_METRICS,
    ),
    ("causal_lm", "lora"): _defaults(
        epochs=3,
        rate=2e-4,
        batch=8,
        scheduler="cosine",
        warmup=0.03,
        decay=0.0,
        bf16="auto",
        metrics=LANGUAGE_METRICS,
    ),
    ("causal_lm", "full"): _defaults(
        epochs=3,
        rate=2e-5,
        batch=8,
        scheduler="cosine",
        warmup=0.03,
        decay=0.01,
        bf16="auto",
        metrics=LANGUAGE_METRICS,
    ),
    ("causal_lm", "prompt_tuning"): _defaults(
        epochs=5,
        rate=3e-2,
        batch=8,
        scheduler="cosine",
        warmup=0.03,
        decay=0.0,
        bf16="auto",
        metrics=LANGUAGE_METRICS,
    ),
    ("seq2seq", "full"): _defaults(
        epochs=3,
        rate=1e-4,
        batch=16,
        scheduler="linear",
        warmup=0.03,
        decay=0.01,
        bf16="auto",
        metrics=SEQ2SEQ_METRICS,
    ),
    ("seq2seq", "lora"): _defaults(
        epochs=5,
        rate=5e-4,
        batch=16,
        scheduler="linear",
        warmup=0.03,
        decay=0.0,
        bf16="auto",
        metrics=SEQ2SEQ_METRICS,
    ),
    ("seq2seq", "prompt_tuning"): _defaults(
        epochs=10,
        rate=0.3,
        batch=16,
        scheduler="constant",
        warmup=0,
        decay=0.0,
        bf16="auto",
        metrics=SEQ2SEQ_METRICS,
    ),
    ("seq2seq", "prefix_tuning"): _defaults(
        epochs=10,
        rate=1e-2,
        batch=16,
        scheduler="linear",
        warmup=0.03,
        decay=0.0,
        bf16="auto",
        metrics=SEQ2SEQ_METRICS,
    ),
}
"""(task, type of method) -> dotted key -> value where the recipe says nothing. Filled in before validation."""

TASK_METHODS: dict[str, tuple[str, ...]] = {
    task: tuple(method for other, method in DEFAULTS if other == task) for task, _ in DEFAULTS
}
"""Task -> the methods that train it; the first is the default."""

READ_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("training.class_weights", "training.label_smoothing_factor", "training.per_device_eval_batch_size"),
        ("classification",),
    ),
    **dict.fromkeys(
        ("data.text_pair_column", "data.label_column", "data.label_names", "evaluation.positive_label"),
        ("classification", "seq2seq"),
    ),
    **dict.fromkeys(
        (
            "model.gguf_file",
            "method.layers_to_transform",
            "data.prompt_column",
            "data.completion_column",
            "data.messages_column",
            "data.chat_template",
            "data.completion_only_loss",
            "data.packing",
            "data.document_separator",
        ),
        ("causal_lm",),
    ),
    **dict.fromkeys(
        (
            "model.attn_implementation",
            "method.init_lora_weights",
            "method.lora_plus_ratio",
            "method.modules_to_save",
            "data.template",
            "training.max_tokens_per_batch",
        ),
        ("causal_lm", "seq2seq"),
    ),
    **dict.fromkeys(
        (
            "data.source_column",
            "data.target_column",
            "data.references_column",
            "data.source_prefix",
            "data.labels_as_text",
            "data.max_target_length",
            "evaluation.score_base",
            *(f"generation.{name}" for name in GenerationSpec.model_fields),
        ),
        ("seq2seq",),
    ),
}
"""Dotted key -> the tasks that read it; other keys are read by all."""


def defaults_of(task: str, method: str, *, labels_as_text: bool = False) -> dict[str, object]:
    """Defaults of a method in a task; where the task does not have it, those of the task's first method.

    Args:
        task: of the recipe.
        method: its method.type.
        labels_as_text: data.labels_as_text, which wants other metrics.
    """
    found = DEFAULTS.get((task, method)) or DEFAULTS[task, TASK_METHODS[task][0]]
    return found | {"evaluation.metrics": LABEL_TEXT_METRICS} if labels_as_text and task == "seq2seq" else found


def is_read(dotted: str, task: str) -> bool:
    """Whether a task reads a key.

    Example:
        >>> is_read("data.label_column", "causal_lm"), is_read("data.text_column", "causal_lm")
        (False, True)
    """
    return task in READ_BY.get(dotted, (task,))
