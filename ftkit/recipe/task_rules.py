"""What a task says about its recipes. The reader of recipes is given it, and knows no task by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic.fields import FieldInfo

from ftkit.methods.section import Finding, Section
from ftkit.methods.table import METHODS
from ftkit.recipe.files import Located
from ftkit.recipe.schema import Recipe

R = TypeVar("R", bound=Recipe)
R_co = TypeVar("R_co", bound=Recipe, covariant=True)


WITHOUT_VALIDATION: dict[str, object] = {"training.load_best_model_at_end": False}
"""Defaults where no row is held out: there is none to find the best step by."""


@dataclass(frozen=True)
class TaskRules(Generic[R]):
    """What a task says about its recipes.

    Attributes:
        name: of the task.
        recipe: its sections, with their keys.
        methods: method.type -> dotted key -> value where a recipe says nothing; the first is the default method.
        no_method: method.type of other tasks -> why it does not go together with this task.
        switched: key -> defaults of every method that are others where the recipe gives it a value but false.
        zero: key -> such defaults where the recipe gives it the number 0.
        instead: key of another task -> what to do about it, where that is more than to remove it.
        peft_task_type: what peft calls models of the task.
        names: what the task is called elsewhere, in lower case.
        words: rows of a key, what it is called elsewhere, and perhaps a note; of keys that no other task has.
        metrics: that may fit, besides those of the library evaluate.
        by_library: whether those of the library evaluate may fit.
        files: dotted key -> the path it holds made absolute, relative to a folder, and looked for.
        rules: what goes together.
    """

    name: str
    recipe: type[R]
    methods: Mapping[str, Mapping[str, object]]
    no_method: Mapping[str, str]
    metrics: tuple[str, ...]
    files: Mapping[str, Callable[[str, Path], Located]]
    rules: tuple[Callable[[Facts[R]], Iterator[Finding]], ...]
    peft_task_type: str
    names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...] = ()
    switched: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    zero: Mapping[str, Mapping[str, object]] = field(
        default_factory=lambda: {"data.validation_size": WITHOUT_VALIDATION}
    )
    instead: Mapping[str, str] = field(default_factory=dict)
    by_library: bool = False

    def classes(self, method: str) -> dict[str, type[Section]]:
        """Section -> its class, in the order in which sections are read; that of `method` is for a method.type."""
        fields: dict[str, Any] = {name: one for name, one in self.recipe.model_fields.items() if name != "task"}
        return {name: METHODS[method] if name == "method" else one.annotation for name, one in fields.items()}

    def fields(self, method: str) -> dict[str, dict[str, FieldInfo]]:
        """Section -> key -> field, of the keys that the task reads."""
        return {name: dict(found.model_fields) for name, found in self.classes(method).items()}

    def defaults_of(self, method: str, given: Callable[[str], Any]) -> Mapping[str, object]:
        """Defaults of a method; where the task does not have it, those of the task's first method.

        Args:
            method: method.type.
            given: the value of a dotted key; None where nobody gave it one.
        """
        found = dict(self.methods.get(method) or next(iter(self.methods.values())))
        for key, values in self.switched.items():
            if given(key):
                found |= values
        for key, values in self.zero.items():
            if (value := given(key)) == 0 and value is not False:
                found |= values
        return found


Tasks = Mapping[str, TaskRules[Any]]
"""Name of a task -> its rules, all that there are, in the order in which people are told of them."""


def sections_of(tasks: Tasks) -> list[str]:
    """Names of the sections that recipes of any task have, in the order in which they are read."""
    names = dict.fromkeys(name for task in tasks.values() for name in task.recipe.model_fields)
    return [name for name in names if name != "task"]


@dataclass(frozen=True)
class Facts(Generic[R_co]):
    """What the rules look at.

    Attributes:
        recipe: a valid recipe (where the file is wrong, with the wrong values left out).
        given: dotted keys that the user has given a value, wrong ones included.
        fields: section -> key -> field, of the keys that the task reads.
        defaults: dotted key -> default of task and method.
        tasks: all there are.
    """

    recipe: R_co
    given: frozenset[str]
    fields: Mapping[str, Mapping[str, FieldInfo]]
    defaults: Mapping[str, object]
    tasks: Tasks

    def has(self, key: str) -> bool:
        """Whether the user gave the key a value."""
        return key in self.given

    def changed(self, key: str) -> bool:
        """Whether the user gave the key a value other than its default."""
        section, _, name = key.rpartition(".")
        if key not in self.given or name not in self.fields[section]:
            return False
        default = self.defaults.get(key, self.fields[section][name].get_default(call_default_factory=True))
        return bool(self.recipe.value(key) != default)


def method_defaults(
    *, epochs: int, rate: float, batch: int, scheduler: str, warmup: float, decay: object, bf16: object, metrics: object
) -> dict[str, object]:
    """Defaults of one method of a task: of every key that has no default of its own."""
    return {
        "training.num_train_epochs": epochs,
        "training.learning_rate": rate,
        "training.per_device_train_batch_size": batch,
        "training.lr_scheduler_type": scheduler,
        "training.lr_scheduler_kwargs": {},
        "training.warmup_steps": warmup,
        "training.weight_decay": decay,
        "training.bf16": bf16,
        "evaluation.metrics": metrics,
    }
