"""What no single field can know: keys that exclude one another, need one another, or would be ignored.

Each rule takes Facts and yields Findings; it knows nothing of files and lines. A key that would be ignored is an error,
never a silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ftkit.methods.lora import LoraMethod
from ftkit.recipe.data_rules import DATA_RULES
from ftkit.recipe.defaults import READ_BY, TASK_METHODS, is_read
from ftkit.recipe.facts import Facts, Finding
from ftkit.recipe.schema import TrainingSpec
from ftkit.recipe.vocabulary import TODAY
from ftkit.tasks.causal_lm.recipe import LANGUAGE_RULES
from ftkit.tasks.classification.recipe import METRIC_RULES
from ftkit.tasks.seq2seq.recipe import SEQ2SEQ_RULES


def broken_rules(facts: Facts) -> list[Finding]:
    """Every rule that the recipe breaks."""
    return [finding for rule in RULES for finding in rule(facts)]


NOT_THIS_METHOD = {
    ("causal_lm", "frozen"): "a language model has no head apart from its base to train on stored outputs",
    ("causal_lm", "prefix_tuning"): "prefixes are for models with an encoder here; prompt_tuning steers the others",
    ("classification", "prompt_tuning"): "classifiers are trained by their head, whole, or by LoRA",
    ("classification", "prefix_tuning"): "classifiers are trained by their head, whole, or by LoRA",
    ("seq2seq", "frozen"): "a text is written by the whole model; no head apart from it is trained on stored outputs",
}
"""(task, method) -> why that does not go together."""

INSTEAD = {
    ("classification", "data.source_column"): "write text_column",
    ("classification", "data.target_column"): "write label_column",
    ("causal_lm", "data.source_column"): "write prompt_column",
    ("causal_lm", "data.target_column"): "write completion_column",
    ("seq2seq", "data.prompt_column"): "write source_column",
    ("seq2seq", "data.completion_column"): "write target_column",
}
"""(task, key of another task) -> what the task calls it."""


def _task(facts: Facts) -> Iterator[Finding]:
    """A method that the task does not have, and keys that only another task reads."""
    task, method = facts.recipe.task, facts.recipe.method.type
    if method not in TASK_METHODS[task]:
        fix = f"task {task} has {', '.join(TASK_METHODS[task])}"
        yield Finding("method.type", f"no {method} for task {task}: {NOT_THIS_METHOD[task, method]}", fix)
    for key, readers in READ_BY.items():
        if not is_read(key, task) and facts.changed(key):
            owners = f"task {readers[0]} reads" if len(readers) == 1 else f"tasks {' and '.join(readers)} read"
            fix = INSTEAD.get((task, key), "remove it")
            yield Finding(key, f"only {owners} it, and this recipe's task is {task}", fix)


def _labels(facts: Facts) -> Iterator[Finding]:
    names = facts.recipe.data.label_names
    positive, weights = facts.recipe.evaluation.positive_label, facts.recipe.training.class_weights
    if isinstance(weights, dict):
        yield from _weights(weights)
    if names is None:
        return
    words = [str(name) for name in names]
    if len(set(words)) < len(words):
        yield Finding("data.label_names", "a label is named twice", "name each label once")
    if len(set(words)) < 2:
        yield Finding("data.label_names", "fewer than two labels", "a classifier needs two or more")
    if positive is not None and str(positive) not in words:
        yield Finding("evaluation.positive_label", f"{positive!r} is not in data.label_names", _one_of(words))
    for label in weights if isinstance(weights, dict) else ():
        if label not in words:
            yield Finding("training.class_weights", f"{label!r} is not in data.label_names", _one_of(words))
    if isinstance(weights, dict) and (without := [word for word in words if word not in weights]):
        fix = "give every label a weight"
        yield Finding("training.class_weights", f"no weight for {without[0]!r}", fix)


def _weights(weights: dict[str, float]) -> Iterator[Finding]:
    if not weights:
        yield Finding("training.class_weights", "no label has a weight", "write balanced, or a weight for each label")
    for label, weight in weights.items():
        if weight < 0:
            yield Finding("training.class_weights", f"the weight of {label!r} is below 0", "0 leaves a label out")
    if weights and not any(weight > 0 for weight in weights.values()):
        yield Finding("training.class_weights", "every weight is 0", "give one label a weight above 0")


def _one_of(words: list[str]) -> str:
    shown = ", ".join(words[:8])
    return f"one of {shown}{', ...' if len(words) > 8 else ''}"


def _precision(facts: Facts) -> Iterator[Finding]:
    training, model = facts.recipe.training, facts.recipe.model
    if training.fp16 and training.bf16 is True:
        yield Finding("training.fp16", "bf16 is on as well", "keep one of the two")
    if training.fp16 and training.use_cpu:
        yield Finding("training.fp16", "float16 is not mixed in on a CPU", "use bf16, or remove use_cpu")
    method = facts.recipe.method.type
    if facts.recipe.task == "classification" and method != "frozen" and model.dtype in ("bfloat16", "float16"):
        key = "bf16" if model.dtype == "bfloat16" else "fp16"
        fix = f"write training.{key}: true for mixed precision, and leave dtype out"
        yield Finding("model.dtype", f"with method {method} the weights are kept in float32", fix)
    if facts.has("model.revision") and model.name_or_path.startswith("builtin:"):
        yield Finding("model.revision", "a built-in model has no revisions", "remove it")


FROZEN_IGNORES = (
    "bf16",
    "fp16",
    "gradient_checkpointing",
    "auto_find_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "save_total_limit",
    "dataloader_num_workers",
    "logging_steps",
    "report_to",
    "extra",
)
"""Keys of `training` that only Trainer reads; a frozen head is fitted without it."""


def _frozen_ignores(facts: Facts) -> Iterator[Finding]:
    if facts.recipe.method.type != "frozen":
        return
    for name in FROZEN_IGNORES:
        if facts.changed(f"training.{name}"):
            fix = "remove it, or set method.type to full or lora"
            yield Finding(f"training.{name}", "a frozen head is fitted without it", fix)


def _weight_decay(facts: Facts) -> Iterator[Finding]:
    method, decay = facts.recipe.method.type, facts.recipe.training.weight_decay
    if method != "frozen" and decay == "auto" and facts.has("training.weight_decay"):
        yield Finding("training.weight_decay", f"method {method} needs a number", "for example 0.01, or remove it")


def _length_of_training(facts: Facts) -> Iterator[Finding]:
    training = facts.recipe.training
    if facts.changed("training.num_train_epochs") and training.max_steps is not None:
        fix = "keep one of the two: max_steps would decide alone"
        yield Finding("training.num_train_epochs", "max_steps is given as well", fix)
    if training.warmup_steps >= 1 and not training.warmup_steps.is_integer():
        fix = "a number of steps is whole; a share of the steps is below 1"
        yield Finding("training.warmup_steps", f"{training.warmup_steps:g} is neither", fix)
    if training.lr_scheduler_type == "constant" and facts.changed("training.warmup_steps") and training.warmup_steps:
        fix = "write lr_scheduler_type: constant_with_warmup, or remove warmup_steps"
        yield Finding("training.warmup_steps", "the constant schedule has no warm-up", fix)


def _evaluation_schedule(facts: Facts) -> Iterator[Finding]:
    training = facts.recipe.training
    if training.eval_strategy == "steps" and training.eval_steps is None and not facts.has("training.eval_steps"):
        yield Finding(
            "training.eval_strategy", "eval_steps is missing", "add eval_steps: the steps between evaluations"
        )
    if training.eval_strategy == "epoch" and training.eval_steps is not None:
        yield Finding("training.eval_steps", "eval_strategy is epoch", "add eval_strategy: steps, or remove it")
    if not training.load_best_model_at_end:
        for key in ("early_stopping_patience", "metric_for_best_model"):
            if facts.changed(f"training.{key}"):
                fix = "remove it, or remove load_best_model_at_end: false"
                yield Finding(f"training.{key}", "the best model is not looked for", fix)


def _extra(facts: Facts) -> Iterator[Finding]:
    for name in facts.recipe.training.extra:
        if name in TrainingSpec.model_fields:
            fix = f"write it as training.{name}, not in extra" if name != "extra" else "write its keys one level up"
            yield Finding("training.extra", f"{name} is a key of the recipe", fix)
        elif name in TODAY and TODAY[name].key not in ("", "training.extra"):
            yield Finding("training.extra", f"{name} is an older or foreign spelling", f"write {TODAY[name].key}")
        elif name in TODAY:
            yield Finding("training.extra", f"{name} is no field of TrainingArguments", TODAY[name].note)


def _lora(facts: Facts) -> Iterator[Finding]:
    method = facts.recipe.method
    if isinstance(method, LoraMethod) and method.target_modules == []:
        fix = "write all-linear, or names of layers"
        yield Finding("method.target_modules", "no layer is named", fix)


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _task,
    *DATA_RULES,
    *LANGUAGE_RULES,
    *SEQ2SEQ_RULES,
    _labels,
    _precision,
    _frozen_ignores,
    _weight_decay,
    _length_of_training,
    _evaluation_schedule,
    _extra,
    _lora,
    *METRIC_RULES,
)
