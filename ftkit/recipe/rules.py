"""What no single field can know: keys that exclude one another, need one another, or would be ignored.

Each rule takes Facts and yields Findings; it knows nothing of files and lines. A key that would be ignored is an error,
never a silence. Here stand the rules of every task; a task's own are in its recipe.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, get_args

from ftkit.methods.section import Finding
from ftkit.metrics.names import HUB_PREFIX
from ftkit.recipe.data_rules import DATA_RULES
from ftkit.recipe.keys import keys_of, todays
from ftkit.recipe.schema import Recipe
from ftkit.recipe.task_rules import Facts
from ftkit.recipe.training_section import TrainingSpec

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

    @property
    def choices(self) -> tuple[str, ...]:
        """What the best model may be chosen by."""
        return ("loss", *(name for name in CHOICES if name in self.metrics and name != "loss"))


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
    if best in measured.choices:
        return
    fix = f"one of {', '.join(measured.choices)}"
    if len(measured.choices) == 1:
        fix = "remove it: the best model has the lowest validation loss"
    yield Finding("training.metric_for_best_model", f"{measured.chosen} is not chosen by {best}", fix)


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


def _weight_decay(facts: Facts[Recipe]) -> Iterator[Finding]:
    method, decay = facts.recipe.method, facts.recipe.training.weight_decay
    if method.trains != "head" and decay == "auto" and facts.has("training.weight_decay"):
        yield Finding("training.weight_decay", f"method {method.type} needs a number", "for example 0.01, or remove it")


def _length_of_training(facts: Facts[Recipe]) -> Iterator[Finding]:
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


def _evaluation_schedule(facts: Facts[Recipe]) -> Iterator[Finding]:
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


def _extra(facts: Facts[Recipe]) -> Iterator[Finding]:
    known = keys_of("training", facts.recipe.method.type, facts.tasks)
    for name in facts.recipe.training.extra:
        today = todays(name, facts.tasks)
        if name in known:
            fix = f"write it as training.{name}, not in extra" if name != "extra" else "write its keys one level up"
            yield Finding("training.extra", f"{name} is a key of the recipe", fix)
        elif today is not None and not today.key:
            yield Finding("training.extra", f"{name} is no field of TrainingArguments", today.note)
        elif today is not None and today.key != "training.extra":
            yield Finding("training.extra", f"{name} is an older or foreign spelling", f"write {today.key}")


def _method(facts: Facts[Recipe]) -> Iterator[Finding]:
    yield from facts.recipe.method.findings(facts.given)


COMMON_RULES: tuple[Callable[[Facts[Recipe]], Iterator[Finding]], ...] = (
    *DATA_RULES,
    _precision,
    _head_ignores,
    _weight_decay,
    _length_of_training,
    _evaluation_schedule,
    _extra,
    _method,
)
