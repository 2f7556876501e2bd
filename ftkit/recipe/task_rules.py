"""What a task says about its recipes. The reader of recipes is given it, and knows no task by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic.fields import FieldInfo

from ftkit.methods.section import Finding, Section
from ftkit.methods.table import METHODS
from ftkit.recipe.paths import Located
from ftkit.recipe.schema import Recipe
from ftkit.recipe.vocabulary import Today

R = TypeVar("R", bound=Recipe)
R_co = TypeVar("R_co", bound=Recipe, covariant=True)


@dataclass(frozen=True)
class TaskRules(Generic[R]):
    """What a task says about its recipes.

    Attributes:
        name: of the task.
        recipe: its sections, with their keys.
        methods: method.type -> dotted key -> value where a recipe says nothing; the first is the default method.
        no_method: method.type of other tasks -> why it does not go together with this task.
        switched: key that is true or false -> defaults of every method that are others where it is true.
        instead: key of another task -> what to do about it, where that is more than to remove it.
        names: what the task is called elsewhere, in lower case.
        words: what keys that no other task has are called elsewhere -> what they are called here.
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
    names: tuple[str, ...]
    words: Mapping[str, Today] = field(default_factory=dict)
    switched: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    by_library: bool = False

    @property
    def default_method(self) -> str:
        """method.type of a recipe that names none."""
        return next(iter(self.methods))

    @property
    def sections(self) -> list[str]:
        """Names of the sections, in the order in which they are read."""
        return [name for name in self.recipe.model_fields if name != "task"]

    def section(self, name: str, method: str) -> type[Section]:
        """The class of a section; that of `method` depends on its type."""
        if name == "method":
            return METHODS[method]
        found: Any = self.recipe.model_fields[name].annotation
        return cast("type[Section]", found)

    def fields(self, name: str, method: str) -> dict[str, FieldInfo]:
        """The keys of a section that the task reads (empty name: of the recipe itself); none of a section it lacks."""
        if name == "":
            return self.recipe.model_fields
        if name not in self.recipe.model_fields:
            return {}
        found = self.section(name, method).model_fields
        return {key: one for key, one in found.items() if f"{name}.{key}" not in self.recipe.unread}

    def field(self, dotted: str, method: str) -> FieldInfo | None:
        """The field behind a dotted key that the task reads, or None."""
        section, _, key = dotted.rpartition(".")
        return self.fields(section, method).get(key)

    def defaults_of(self, method: str, switched_on: Callable[[str], bool]) -> Mapping[str, object]:
        """Defaults of a method; where the task does not have it, those of the task's first method.

        Args:
            method: method.type.
            switched_on: whether a key is true.
        """
        found = dict(self.methods.get(method, self.methods[self.default_method]))
        for key, values in self.switched.items():
            if switched_on(key):
                found |= values
        return found


Tasks = Mapping[str, TaskRules[Any]]
"""Name of a task -> its rules, all that there are, in the order in which people are told of them."""


@dataclass(frozen=True)
class Facts(Generic[R_co]):
    """What the rules look at.

    Attributes:
        recipe: a valid recipe (where the file is wrong, with the wrong values left out).
        given: dotted keys that the user has given a value, wrong ones included.
        tasks: all there are.
    """

    recipe: R_co
    given: frozenset[str]
    tasks: Tasks

    def has(self, key: str) -> bool:
        """Whether the user gave the key a value."""
        return key in self.given

    def changed(self, key: str) -> bool:
        """Whether the user gave the key a value other than its default."""
        task, method = self.tasks[self.recipe.task], self.recipe.method.type
        field = task.field(key, method)
        if key not in self.given or field is None:
            return False
        defaults = task.defaults_of(method, self.recipe.value)
        default = defaults.get(key, field.get_default(call_default_factory=True))
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
        "training.warmup_steps": warmup,
        "training.weight_decay": decay,
        "training.bf16": bf16,
        "evaluation.metrics": metrics,
    }
