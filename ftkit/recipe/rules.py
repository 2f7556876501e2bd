"""What no single field can know: keys that exclude one another, need one another, or would be ignored.

Each rule takes Facts and yields Findings; it knows nothing of files and lines. A key that would be ignored is an error,
never a silence.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ftkit.recipe.defaults import METHOD_DEFAULTS
from ftkit.recipe.keys import field_at, nearest
from ftkit.recipe.schema import LoraMethod, Recipe, TrainingSpec
from ftkit.recipe.vocabulary import TODAY

CLASSIFICATION_DATA = ("docstrings",)
"""Built-in data sets that have labels."""
OTHER_DATA = ("signatures", "pydoc")
"""Built-in data sets for tasks that are not in this version."""


class Finding(NamedTuple):
    """A rule that is broken.

    Attributes:
        key: dotted path of the key that it is about.
        message: what is wrong.
        fix: what to do.
    """

    key: str
    message: str
    fix: str


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    Attributes:
        recipe: a valid recipe (where the file is wrong, with the wrong values left out).
        given: dotted keys that the user has given a value, wrong ones included.
    """

    recipe: Recipe
    given: frozenset[str]

    def has(self, key: str) -> bool:
        """Whether the user gave the key a value."""
        return key in self.given

    def changed(self, key: str) -> bool:
        """Whether the user gave the key a value other than its default."""
        section, _, name = key.rpartition(".")
        field = field_at(key, self.recipe.method.type)
        if key not in self.given or field is None:
            return False
        default = METHOD_DEFAULTS[self.recipe.method.type].get(key, field.get_default(call_default_factory=True))
        return bool(getattr(getattr(self.recipe, section), name) != default)


def broken_rules(facts: Facts) -> list[Finding]:
    """Every rule that the recipe breaks."""
    return [finding for rule in RULES for finding in rule(facts)]


def _data_source(facts: Facts) -> Iterator[Finding]:
    file, name = facts.has("data.train_file"), facts.has("data.dataset_name")
    if not file and not name:
        yield Finding("data", "no training examples are named", "add train_file, or dataset_name")
    if file and name:
        yield Finding("data.dataset_name", "train_file is given as well", "keep one of the two")
    if name and not file:
        for key in ("data.validation_file", "data.test_file"):
            if facts.has(key):
                fix = (
                    "a data set brings its own splits: name them by validation_split and test_split, or use train_file"
                )
                yield Finding(key, "files do not mix with dataset_name", fix)
    if file and not name:
        for key in ("data.dataset_config_name", "data.validation_split", "data.test_split", "data.train_split"):
            if facts.changed(key):
                yield Finding(key, "only a dataset_name has it", "remove it")


def _splits(facts: Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    if data.validation_size >= 1 and not data.validation_size.is_integer():
        fix = f"write {data.validation_size:.0f}; a share is below 1"
        yield Finding("data.validation_size", f"{data.validation_size:g} is not a whole number of rows", fix)
    for key in ("data.validation_file", "data.validation_split"):
        if facts.has(key) and facts.changed("data.validation_size"):
            yield Finding("data.validation_size", f"nothing is split off: {key} is given", "keep one of the two")
    splits = (data.train_split, data.validation_split, data.test_split)
    for key, split, others in (
        ("data.validation_split", data.validation_split, splits[:1]),
        ("data.test_split", data.test_split, splits[:2]),
    ):
        if split is not None and split in others:
            yield Finding(key, f"{split!r} is another split already", "measure on rows that were not trained on")


def _builtin_data(facts: Facts) -> Iterator[Finding]:
    name = facts.recipe.data.dataset_name or ""
    if not name.startswith("builtin:"):
        return
    word = name.removeprefix("builtin:")
    if word in OTHER_DATA:
        fix = "for classification: " + ", ".join(f"builtin:{known}" for known in CLASSIFICATION_DATA)
        yield Finding("data.dataset_name", f"{name} has no labels", fix)
    elif word not in CLASSIFICATION_DATA:
        near = nearest(word, CLASSIFICATION_DATA)
        fix = f"did you mean builtin:{near}?" if near else f"there is builtin:{', builtin:'.join(CLASSIFICATION_DATA)}"
        yield Finding("data.dataset_name", f"no built-in data set is called {word!r}", fix)
    for key in ("data.dataset_config_name", "data.encoding", "data.delimiter"):
        if facts.changed(key):
            yield Finding(key, "a built-in data set has none", "remove it")


def _columns(facts: Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    used: dict[str, str] = {}
    for name in ("text_column", "text_pair_column", "label_column"):
        column = getattr(data, name)
        if column is not None and column in used:
            yield Finding(f"data.{name}", f"{column!r} is the {used[column]} already", "name another column")
        elif column is not None:
            used[column] = name
    if data.text_pair_column is not None and data.text_column is None:
        yield Finding("data.text_pair_column", "text_column is not named", "name both columns of a pair")


def _text_format(facts: Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    try:
        codecs.lookup(data.encoding)
    except (LookupError, ValueError):
        fix = "common ones: utf-8, utf-16, cp1252, latin-1"
        yield Finding("data.encoding", f"Python knows no encoding {data.encoding!r}", fix)
    if data.delimiter is not None and data.delimiter in "\r\n\"' ":
        yield Finding("data.delimiter", f"{data.delimiter!r} cannot separate fields", 'for example ";", or "\\t"')


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
    if training.fp16 and training.bf16:
        yield Finding("training.fp16", "bf16 is on as well", "keep one of the two")
    if training.fp16 and training.use_cpu:
        yield Finding("training.fp16", "float16 is not mixed in on a CPU", "use bf16, or remove use_cpu")
    method = facts.recipe.method.type
    if method != "frozen" and model.dtype in ("bfloat16", "float16"):
        key = "bf16" if model.dtype == "bfloat16" else "fp16"
        fix = f"write training.{key}: true for mixed precision, and leave dtype out"
        yield Finding("model.dtype", f"with method {method} the weights are kept in float32", fix)
    if facts.has("model.revision") and model.name_or_path.startswith("builtin:"):
        yield Finding("model.revision", "a built-in model has no revisions", "remove it")


FROZEN_IGNORES = (
    "bf16",
    "fp16",
    "gradient_checkpointing",
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
    method = facts.recipe.method.type
    if method != "frozen" and facts.recipe.training.weight_decay == "auto":
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
            yield Finding("training.extra", f"{name} is no TrainingArguments field any more", TODAY[name].note)


def _lora(facts: Facts) -> Iterator[Finding]:
    method = facts.recipe.method
    if isinstance(method, LoraMethod) and method.target_modules == []:
        fix = "write all-linear, or names of layers"
        yield Finding("method.target_modules", "no layer is named", fix)


def _metrics(facts: Facts) -> Iterator[Finding]:
    evaluation = facts.recipe.evaluation
    for name in dict.fromkeys(evaluation.metrics):
        if evaluation.metrics.count(name) > 1:
            yield Finding("evaluation.metrics", f"{name} is named twice", "name each metric once")
    if facts.has("evaluation.positive_label") and not {"f1", "precision", "recall"} & set(evaluation.metrics):
        if any(name.startswith("evaluate:") for name in evaluation.metrics):
            return
        fix = "add one of f1, precision, recall, or remove it"
        yield Finding("evaluation.positive_label", "no metric of the list is about one class", fix)


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _data_source,
    _splits,
    _builtin_data,
    _columns,
    _text_format,
    _labels,
    _precision,
    _frozen_ignores,
    _weight_decay,
    _length_of_training,
    _evaluation_schedule,
    _extra,
    _lora,
    _metrics,
)
