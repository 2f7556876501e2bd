"""What no single field can know: keys that exclude one another, need one another, or would be ignored.

Each rule takes Facts and yields Findings; it knows nothing of files and lines. A key that would be ignored is an error,
never a silence. Here stand the rules of every task; a task's own are in its recipe.py.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

from ftkit.methods.section import Finding
from ftkit.metrics.names import HUB_PREFIX
from ftkit.recipe.nearest import nearest
from ftkit.recipe.schema import Recipe
from ftkit.recipe.sources.rules import of_each_source, sources, weights
from ftkit.recipe.task_rules import Facts
from ftkit.recipe.trainer.rules import TRAINER_RULES
from ftkit.recipe.trainer.schedules import SCHEDULES
from ftkit.recipe.training_section import TrainingSpec

LABELLED_DATA = ("docstrings",)
"""Built-in data sets that have labels."""
PAIRED_DATA = ("signatures", "commands", "commands-new")
"""Built-in data sets of a source and its target."""
BUILTIN_NAMES = (*LABELLED_DATA, *PAIRED_DATA, "pydoc")
"""Every built-in data set."""
CHOICES = get_args(TrainingSpec.model_fields["metric_for_best_model"].annotation)
"""Names that training.metric_for_best_model may have, whatever the task."""


class Measured(NamedTuple):
    """What is measured of the model that a recipe trains.

    Attributes:
        metrics: those that fit.
        by_library: whether those of the library evaluate fit too.
        what: they have to measure, in words.
        chosen: what the best model is, in words.
        others: metric that a change of the recipe would let fit -> what it does, and that change, in words.
    """

    metrics: tuple[str, ...]
    by_library: bool
    what: str
    chosen: str
    others: Mapping[str, tuple[str, str]] = {}


def metrics_fit(facts: Facts[Recipe], measured: Measured) -> Iterator[Finding]:
    """Each metric is named once and fits, and so does what the best model is chosen by."""
    metrics, best = facts.recipe.evaluation.metrics, facts.recipe.training.metric_for_best_model
    for name in dict.fromkeys(metrics):
        if metrics.count(name) > 1:
            yield Finding("evaluation.metrics", f"{name} is named twice", "name each metric once")
        if name not in measured.metrics and not (name.startswith(HUB_PREFIX) and measured.by_library):
            does, *change = measured.others.get(name, (f"does not measure {measured.what}",))
            fix = "; ".join((*change, f"it has {', '.join(measured.metrics)}"))
            yield Finding("evaluation.metrics", f"{name} {does}", fix)
    choices = ("loss", *(name for name in CHOICES if name in measured.metrics and name != "loss"))
    if best in choices:
        return
    fix = f"one of {', '.join(choices)}"
    if len(choices) == 1:
        fix = "remove it: the best model has the lowest validation loss"
    yield Finding("training.metric_for_best_model", f"{measured.chosen} is not chosen by {best}", fix)


def _data_source(facts: Facts[Recipe]) -> Iterator[Finding]:
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


def _splits(facts: Facts[Recipe]) -> Iterator[Finding]:
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


def builtin_data(facts: Facts[Recipe], fitting: Sequence[str], what: str) -> Iterator[Finding]:
    """A built-in data set is one of those that fit, by what a task wants of it in words."""
    name = facts.recipe.data.dataset_name or ""
    if not name.startswith("builtin:"):
        return
    word = name.removeprefix("builtin:")
    listed = ", ".join(f"builtin:{known}" for known in fitting)
    if word in BUILTIN_NAMES and word not in fitting:
        labels = "; data.labels_as_text: true would learn its labels" if word in LABELLED_DATA else ""
        yield Finding("data.dataset_name", f"{name} has no {what}", f"with {what}: {listed}{labels}")
    elif word not in fitting:
        near = nearest(word, fitting)
        fix = f"did you mean builtin:{near}?" if near else f"there is {listed}"
        yield Finding("data.dataset_name", f"no built-in data set is called {word!r}", fix)
    for key in ("data.dataset_config_name", "data.encoding", "data.delimiter", "data.quoting", "data.table"):
        if facts.changed(key):
            yield Finding(key, "a built-in data set has none", "remove it")


def _text_format(facts: Facts[Recipe]) -> Iterator[Finding]:
    data = facts.recipe.data
    try:
        codecs.lookup(data.encoding)
    except (LookupError, ValueError):
        fix = "common ones: utf-8, utf-16, cp1252, latin-1"
        yield Finding("data.encoding", f"Python knows no encoding {data.encoding!r}", fix)
    if data.delimiter is not None and data.delimiter in "\r\n\"' ":
        yield Finding("data.delimiter", f"{data.delimiter!r} cannot separate fields", 'for example ";", or "\\t"')


def _precision(facts: Facts[Recipe]) -> Iterator[Finding]:
    training, model = facts.recipe.training, facts.recipe.model
    if training.fp16 and training.bf16 is True:
        yield Finding("training.fp16", "bf16 is on as well", "keep one of the two")
    if training.fp16 and training.use_cpu:
        yield Finding("training.fp16", "float16 is not mixed in on a CPU", "use bf16, or remove use_cpu")
    if facts.has("model.revision") and model.name_or_path.startswith("builtin:"):
        yield Finding("model.revision", "a built-in model has no revisions", "remove it")


HEAD_IGNORES = (
    "bf16",
    "fp16",
    "gradient_checkpointing",
    "auto_find_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "save_strategy",
    "save_steps",
    "save_minutes",
    "save_total_limit",
    "dataloader_num_workers",
    "logging_steps",
    "report_to",
    "extra",
)
"""Keys of `training` that only Trainer reads; a head on a frozen encoder is fitted without it."""


def _head_ignores(facts: Facts[Recipe]) -> Iterator[Finding]:
    if facts.recipe.method.trains != "head":
        return
    for name in HEAD_IGNORES:
        if facts.changed(f"training.{name}"):
            fix = "remove it, or set method.type to full or lora"
            yield Finding(f"training.{name}", "a frozen head is fitted without it", fix)


def _refit(facts: Facts[Recipe]) -> Iterator[Finding]:
    if not facts.recipe.training.refit:
        return
    if facts.recipe.method.trains == "head":
        fix = "remove it; without a validation set a head is scored out of fold, and the one that is kept has all rows"
        yield Finding("training.refit", "a frozen head is fitted in folds", fix)
    if facts.recipe.data.validation_size == 0:
        yield Finding("training.refit", "no rows are held out, so all are learnt already", "remove it")


def _nothing_held_out(facts: Facts[Recipe]) -> Iterator[Finding]:
    """What needs rows that are held out, where there are none."""
    data, training = facts.recipe.data, facts.recipe.training
    if not data.holds_nothing_out or training.refit:
        return
    why = "data.validation_size: 0 holds nothing out"
    if training.load_best_model_at_end:
        fix = "remove it: the last step is kept"
        yield Finding("training.load_best_model_at_end", f"{why} to find the best step by", fix)
    if SCHEDULES[training.lr_scheduler_type].follows_scores:
        yield Finding("training.lr_scheduler_type", f"{why}, and it follows scores", "choose one by steps")
    if training.eval_margin_of_error is not None:
        yield Finding("training.eval_margin_of_error", f"{why} that could be scored", "remove it")
    if data.example_in_card:
        yield Finding("data.example_in_card", f"{why}, and it shows such a row", "remove it")
    if facts.recipe.method.trains == "head" and training.weight_decay == "auto":
        fix = (
            "give a number such as 0.01; or remove validation_size: in folds (data.validation) every row is learnt too"
        )
        yield Finding("training.weight_decay", f"{why} to find the strength of the penalty by", fix)


def _weight_decay(facts: Facts[Recipe]) -> Iterator[Finding]:
    method, decay = facts.recipe.method, facts.recipe.training.weight_decay
    if method.trains != "head" and decay == "auto" and facts.has("training.weight_decay"):
        yield Finding("training.weight_decay", f"method {method.type} needs a number", "for example 0.01, or remove it")


def _evaluation_schedule(facts: Facts[Recipe]) -> Iterator[Finding]:
    training = facts.recipe.training
    if training.eval_strategy == "no" and facts.recipe.method.trains == "head":
        yield Finding("training.eval_strategy", "a frozen head chooses its weights by evaluations", "remove it")
    elif training.eval_strategy == "no" and training.load_best_model_at_end:
        fix = "add load_best_model_at_end: false, or remove it"
        yield Finding("training.eval_strategy", "without evaluations there is no best model to load", fix)
    elif training.eval_strategy == "no" and training.save_strategy == "evaluation":
        fix = "add save_strategy: epoch, steps, minutes or no"
        yield Finding("training.eval_strategy", "no checkpoint would be sealed before the end", fix)
    yield from _interval(facts, "eval", "evaluations", ("steps",))
    if facts.recipe.method.trains != "head":
        yield from _interval(facts, "save", "checkpoints", ("steps", "minutes"))
    if not training.load_best_model_at_end:
        for key in ("early_stopping_patience", "metric_for_best_model"):
            if facts.changed(f"training.{key}"):
                fix = "remove it, or remove load_best_model_at_end: false"
                yield Finding(f"training.{key}", "the best model is not looked for", fix)


def _interval(facts: Facts[Recipe], what: str, of: str, units: Sequence[str]) -> Iterator[Finding]:
    """Whether a strategy that counts has its count, and a count the strategy that reads it."""
    strategy = f"training.{what}_strategy"
    chosen = facts.recipe.value(strategy)
    for unit in units:
        key = f"training.{what}_{unit}"
        count = facts.recipe.value(key)
        if chosen == unit and count is None and not facts.has(key):
            yield Finding(strategy, f"{what}_{unit} is missing", f"add {what}_{unit}: the {unit} between {of}")
        if chosen != unit and count is not None:
            fix = f"add {what}_strategy: {unit}, or remove it"
            yield Finding(key, f"{what}_strategy is {chosen}", fix)


def _new_tokens(facts: Facts[Recipe]) -> Iterator[Finding]:
    """Tokens are added where something trains their embeddings, each once."""
    seen: set[str] = set()
    for key in ("add_tokens", "add_special_tokens"):
        tokens: list[str] = facts.recipe.value(f"data.{key}") or []
        if tokens and not facts.recipe.method.takes_tokens:
            what = f"method {facts.recipe.method.type} leaves the embeddings as they are, so new tokens would be noise"
            yield Finding(f"data.{key}", what, "set method.type: full")
        for token in tokens:
            if not token.strip():
                yield Finding(f"data.{key}", "a token is blank", "write what stands in the texts")
            if token in seen:
                yield Finding(f"data.{key}", f"{token} is named twice", "name it once")
            seen.add(token)


def _parts_of_the_base(facts: Facts[Recipe]) -> Iterator[Finding]:
    """Keys that tell parts of the base apart are for the method that trains them."""
    method = facts.recipe.method
    if method.trains == "weights":
        return
    if facts.has("model.freeze"):
        layers = "; layers with adapters are named by method.target_modules and method.layers_to_transform"
        what = f"method {method.type} leaves every weight of the base as it is"
        yield Finding("model.freeze", what, "remove it" + (layers if method.trains == "adapter" else ""))
    if facts.changed("training.layer_lr_decay"):
        what = f"method {method.type} trains no layer of the base, whose depth would count"
        yield Finding("training.layer_lr_decay", what, "remove it, or set method.type: full")


def _rates_of_adapters(facts: Facts[Recipe]) -> Iterator[Finding]:
    """LoRA+ has an optimizer of its own."""
    method, optimizer = facts.recipe.method, facts.recipe.training.optim
    if getattr(method, "lora_plus_ratio", None) is not None and not optimizer.startswith("adamw_torch"):
        fix = "remove training.optim"
        yield Finding("method.lora_plus_ratio", f"LoRA+ runs with adamw_torch, not {optimizer}", fix)


COMMON_RULES: tuple[Callable[[Facts[Recipe]], Iterator[Finding]], ...] = (
    _data_source,
    sources,
    weights,
    _splits,
    of_each_source(_text_format),
    _precision,
    _head_ignores,
    _refit,
    _nothing_held_out,
    _weight_decay,
    *TRAINER_RULES,
    _evaluation_schedule,
    _new_tokens,
    _parts_of_the_base,
    _rates_of_adapters,
)
