"""The JSON Schema of a recipe, for editors: it accepts whatever `read_recipe` accepts.

The reverse cannot hold: what depends on files, or on several keys at once, is beyond a schema that people can read.
Each task has a schema of its own, in which an editor finds its keys and methods and no others.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pydantic.fields import FieldInfo

from ftkit.methods.section import Section
from ftkit.recipe.schema import Recipe
from ftkit.recipe.sources.section import SourceSpec
from ftkit.recipe.task_rules import TaskRules, Tasks, sections_of
from ftkit.recipe.yaml.scalars import write_value
from ftkit.tasks.table import task_rules

SCHEMA_NAME = "ftkit.schema.json"
"""The name under which recipes look for their schema, in their own folder."""
REQUIRED = ["task", "model", "data"]


def json_schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12: titles, descriptions, defaults, enums."""
    tasks = task_rules()
    definitions: dict[str, Any] = {}
    for task in tasks.values():
        definitions |= _definitions(task, tasks)
    words = " ".join(_words_below(task.recipe)["task"] for task in tasks.values())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ftkit recipe",
        "description": (inspect.getdoc(Recipe) or "").partition("\n")[0],
        "type": "object",
        "properties": {"task": {"title": "Task", "description": words, "enum": list(tasks)}},
        "required": REQUIRED,
        "oneOf": [_ref(name) for name in tasks],
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as it is printed and written to files."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _definitions(task: TaskRules[Any], tasks: Tasks) -> dict[str, Any]:
    """Name -> schema, of a task's recipe, of its sections and of its methods."""
    found: dict[str, Any] = {}
    first, words = next(iter(task.methods)), _words_below(task.recipe)
    properties: dict[str, Any] = {"task": {"title": "Task", "description": words["task"], "const": task.name}}
    for section in task.classes(first):
        names = [f"{task.name}.{name}" for name in (task.methods if section == "method" else [section])]
        for name, method in zip(names, task.methods, strict=False):
            found[name] = _section(task, tasks, section, method)
            found |= found[name].pop("$defs", {})
        choices: list[dict[str, Any]] = [_ref(name) for name in names]
        if section not in REQUIRED:
            # it may be left out, or stand there with every key commented out
            choices += [{"type": "null"}, {"const": {}}]
        default = f" Default: {first}." if section == "method" else ""
        choice = {"anyOf": choices} if len(choices) > 1 else choices[0]
        properties[section] = {"title": section.title(), "description": f"{words[section]}{default}"} | choice
    found[task.name] = {
        "title": f"Recipe of task {task.name}",
        "description": inspect.getdoc(task.recipe),
        "type": "object",
        "properties": properties,
        "patternProperties": {
            f"^{section}$": {"anyOf": [{"type": "null"}, _nothing_but({}, _others(task, tasks, section, first))]}
            for section in sections_of(tasks)
            if section not in properties
        },
        "required": REQUIRED,
        "additionalProperties": False,
    }
    return found


def _section(task: TaskRules[Any], tasks: Tasks, section: str, method: str) -> dict[str, Any]:
    model = task.classes(method)[section]
    schema, words = model.model_json_schema(), _words_below(model)
    defaults = next(iter(task.methods.values()))
    properties: dict[str, Any] = {
        key: {"description": words[key], **schema["properties"][key]} for key in task.fields(method)[section]
    }
    for key, field in properties.items():
        if f"{section}.{key}" in defaults:
            field["description"] += f" Default: {_default_text(task, f'{section}.{key}')}."
    if section == "evaluation":
        by_library = [{"type": "string", "pattern": "^evaluate:.+$"}] if task.by_library else []
        properties["metrics"]["items"] = {"anyOf": [{"enum": list(task.metrics)}, *by_library]}
    if section == "training":
        best = properties["metric_for_best_model"]
        best["enum"] = [name for name in best["enum"] if name == "loss" or name in task.metrics]
    if section == "data":
        schema["$defs"] = {name: _source(task, one, words) for name, one in schema["$defs"].items()}
    required = [key for key in schema.get("required", ()) if f"{section}.{key}" not in defaults]
    found = {**schema, **_nothing_but(properties, _others(task, tasks, section, method)), "required": required}
    return {**found, **_ONE_SOURCE} if section == "data" else found


def _source(task: TaskRules[Any], schema: dict[str, Any], words_of_data: Mapping[str, str]) -> dict[str, Any]:
    """An entry of a list of sources; its columns and form are described as those of the data section."""
    model: type[SourceSpec] = getattr(task.recipe.model_fields["data"].annotation, "source_class", SourceSpec)
    words = {**words_of_data, **_words_below(model)}
    properties = {key: {"description": words[key], **one} for key, one in schema["properties"].items()}
    return {**schema, "description": inspect.getdoc(model), "properties": properties}


def _words_below(model: type[Section]) -> dict[str, str]:
    """Key -> the docstring under it, in the class or in a base of it."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if issubclass(part, Section):
            (tree,) = ast.parse(inspect.getsource(part)).body
            assert isinstance(tree, ast.ClassDef)
            for key, below in pairwise(tree.body):
                if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(below, ast.Expr):
                    found[key.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return found


def _nothing_but(properties: Mapping[str, Any], others: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Keys that are offered, and keys of other tasks that may stand there with values that change nothing."""
    by_default: dict[str, list[str]] = {}
    for key, field in others.items():
        by_default.setdefault(json.dumps(field.get_default(call_default_factory=True)), []).append(key)
    patterns = {f"^({'|'.join(keys)})$": {"enum": [json.loads(default)]} for default, keys in by_default.items()}
    found = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**found, "patternProperties": patterns} if patterns else found


def _others(task: TaskRules[Any], tasks: Tasks, section: str, method: str) -> dict[str, FieldInfo]:
    """The keys of a section that other tasks read and this one does not."""
    having = (other.fields(method).get(section, {}) for other in tasks.values())
    own = task.fields(method).get(section, {})
    return {key: one for fields in having for key, one in fields.items() if key not in own}


def _default_text(task: TaskRules[Any], key: str) -> str:
    """Each default with the methods that have it."""
    owners: dict[str, list[str]] = {}
    for method, values in task.methods.items():
        owners.setdefault(write_value(values[key]), []).append(method)
    for switch, values in task.switched.items():
        if key in values:
            owners.setdefault(write_value(values[key]), []).append(f"with {switch}")
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in owners.items())


_ONE_SOURCE = {
    "oneOf": [
        {"required": [one], "properties": {one: {"type": kinds}, other: {"type": "null"}}}
        for one, kinds, other in (
            ("train_file", ["string", "array"], "dataset_name"),
            ("dataset_name", "string", "train_file"),
        )
    ]
}
"""Either train_file or dataset_name; null is the same as not there."""
