"""model.adapter: what the folder of an adapter says of a recipe that goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import adapted_layers, adapter_settings
from ftkit.methods.section import Finding
from ftkit.methods.table import BY_PEFT_TYPE, METHODS
from ftkit.recipe.files import locate_adapter, read_recipe_text
from ftkit.recipe.reading import Reading
from ftkit.recipe.schema import Recipe
from ftkit.recipe.task_rules import Facts
from ftkit.recipe.yaml.nodes import Flaw, Node, Place, compose, node_of, plain_value
from ftkit.recipe.yaml.scalars import write_value
from ftkit.runs.folder import is_run
from ftkit.runs.run import Run

OF_ADAPTER = "of the adapter"
"""Where a value came from that the folder of an adapter says."""
SEQ_CLS, SEQ_CLS_HEADS = "SEQ_CLS", ("classifier", "score")
"""What peft calls a classifier, and the modules that it adds by itself to those that an adapter saves whole."""
MERGE = "model.adapter_use: merge makes the adapter a part of the base, and another one is trained on it"


class Told:
    """What the folder of an adapter says, and the recipe of the run whose model it is, where there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = adapter_settings(folder)

    @property
    def method(self) -> str:
        """The recipe's name of what it is; peft's, where no recipe trains such ones."""
        kind = str(self.settings.get("peft_type"))
        return BY_PEFT_TYPE.get(kind, kind)

    @cached_property
    def recipe(self) -> dict[str, dict[str, Any]]:
        """Section -> key -> value of the run's recipe; empty without one."""
        run = Run(self.folder.parent)
        if run.model_dir != self.folder or not is_run(run.path) or not run.recipe_file.is_file():
            return {}
        root, flaws = compose(read_recipe_text(run.recipe_file), lambda line, column: Place(0, line, column))
        values = {} if root is None or flaws else plain_value(root)
        return {name: below for name, below in values.items() if isinstance(below, dict)}

    @property
    def base(self) -> dict[str, Any]:
        """Keys of `model` that name its base."""
        model = self.recipe.get("model", {})
        if model and model.get("adapter_use") != "merge":
            named = ("name_or_path", "revision", "gguf_file")
            return {name: model[name] for name in named if model.get(name) is not None}
        names = {"name_or_path": "base_model_name_or_path", "revision": "revision"}
        return {key: self.settings[name] for key, name in names.items() if self.settings.get(name)}

    @property
    def values(self) -> dict[str, Any]:
        """Key of its method's section -> value. Layers are told as the run's recipe tells them, where it does."""
        if (section := METHODS.get(self.method)) is None:
            return {}
        found = section.of_adapter(self.settings)
        if isinstance(found.get("target_modules"), str):
            # a pattern of peft's
            found["target_modules"] = adapted_layers(self.folder)
        if self.settings.get("task_type") == SEQ_CLS:
            # those are trained whole without being asked for
            whole = [name for name in found.pop("modules_to_save", ()) if name not in SEQ_CLS_HEADS]
            found |= {"modules_to_save": list(dict.fromkeys(whole))} if whole else {}
        asked = self.recipe.get("method", {})
        return found | {key: asked[key] for key in section.picks if key in asked and asked.get("type") == self.method}


def fill_base(reading: Reading) -> None:
    """Let a recipe that names an adapter and no base have the adapter's, and its kind where it names no method."""
    model = reading.below("model")
    if (told := _told(reading)) is None:
        _say_absence(reading)
        return
    if _is_missing(model, "name_or_path"):
        model |= {key: node_of(value, _place()) for key, value in told.base.items() if _is_missing(model, key)}
    if not _merges(reading) and _is_missing(reading.below("method"), "type") and told.method in reading.task.methods:
        reading.below("method")["type"] = node_of(told.method, _place())


def _say_absence(reading: Reading) -> None:
    """Say that the adapter which was to tell the base is not there: the base is then no second mistake."""
    node, model = reading.node("model.adapter"), reading.below("model")
    if node is None or not isinstance(node.value, str) or not _is_missing(model, "name_or_path"):
        return
    located = locate_adapter(node.value, Path.cwd() if node.place.override else reading.path.parent)
    if located.message and "model.adapter" not in reading.silent:
        flaw = Flaw(node.place, "model.adapter", located.message, located.fix)
        reading.say(flaw, "model.adapter", "model.name_or_path")


def fill_method(reading: Reading) -> None:
    """Let the keys of a method that nobody gave a value have those of the adapter that is gone on with."""
    told = _told(reading)
    if told is None or _merges(reading) or told.method != reading.method:
        return
    below = reading.below("method")
    for key, value in told.values.items():
        if key in reading.own["method"] and _is_missing(below, key):
            below[key] = node_of(value, _place())


def refuse_disagreement(reading: Reading, recipe: Recipe) -> None:
    """Report where a recipe says otherwise than the adapter that it goes on with."""
    told = _told(reading)
    if told is None:
        return
    for finding in _disagreements(told, recipe, reading):
        reading.criticise(finding)
        reading.silent.add(finding.key)


def _disagreements(told: Told, recipe: Recipe, reading: Reading) -> Iterator[Finding]:
    merges = recipe.model.adapter_use == "merge"
    if told.method not in METHODS:
        known = ", ".join(BY_PEFT_TYPE)
        yield Finding("model.adapter", f"it is of peft's kind {told.method}", f"kinds that are gone on with: {known}")
        return
    if merges:
        if what := METHODS[told.method].unmergeable:
            fix = "remove adapter_use: what it says is trained on"
            yield Finding("model.adapter_use", f"{what} cannot be merged: no weight of the base can hold it", fix)
        return
    if told.method != recipe.method.type:
        fix = f"set method.type: {told.method}; or {MERGE}"
        yield Finding("method.type", f"{recipe.method.type} does not go on with {told.method}", fix)
        return
    kind = told.settings.get("task_type")
    if kind not in (None, reading.task.peft_task_type):
        fix = f"set model.adapter_use: merge, or name an adapter of task {recipe.task}"
        yield Finding("model.adapter", f"it is an adapter for {kind}, and task {recipe.task} has other models", fix)
    for key, value in told.values.items():
        node = reading.node(f"method.{key}")
        if node is not None and not node.key_place.note and plain_value(node) != value:
            found = f"{write_value(plain_value(node))}, and the adapter that is gone on with has {write_value(value)}"
            yield Finding(f"method.{key}", found, f"remove it: an adapter stays as it is; {MERGE}")
    for key in METHODS[told.method].begins_by:
        node = reading.node(f"method.{key}")
        if node is not None and plain_value(node) != type(recipe.method).model_fields[key].default:
            yield Finding(f"method.{key}", "the adapter that is gone on with has begun already", f"remove it; {MERGE}")


def adapter_keys(facts: Facts[Recipe]) -> Iterator[Finding]:
    """What goes together with an adapter that is gone on with."""
    model = facts.recipe.model
    if model.adapter is None:
        if facts.changed("model.adapter_use") and not facts.has("model.adapter"):
            yield Finding("model.adapter_use", "no adapter is named", "add model.adapter, or remove it")
        return
    for key in ("data.add_tokens", "data.add_special_tokens"):
        if facts.has(key) and model.adapter_use == "continue":
            yield Finding(key, "an adapter that is gone on with has no place for new embeddings", f"remove it; {MERGE}")


def _told(reading: Reading) -> Told | None:
    """What the folder says, if there is one that can be read; else that is said, once."""
    node = reading.node("model.adapter")
    if node is None or not isinstance(node.value, str) or not node.value or "model.adapter" in reading.silent:
        return None
    base = Path.cwd() if node.place.override else reading.path.parent
    located = locate_adapter(node.value, base)
    if located.message:
        return None
    try:
        return Told(Path(located.value))
    except UserError as error:
        reading.say(Flaw(node.place, "model.adapter", error.problem, error.fix or ""), "model.adapter")
        return None


def _merges(reading: Reading) -> bool:
    node = reading.node("model.adapter_use")
    return node is not None and node.value == "merge"


def _is_missing(below: dict[str, Node], key: str) -> bool:
    return key not in below or below[key].value is None


def _place() -> Place:
    return Place(0, 0, 0, OF_ADAPTER)
