"""The JSON Schema of a recipe, for editors: it accepts whatever `load_recipe` accepts.

The reverse cannot hold: what depends on files, or on several keys at once, is beyond a schema that people can read.
"""

from __future__ import annotations

import json
from typing import Any

from ftkit.recipe.defaults import DEFAULTS, LABEL_TEXT_METRICS, TASK_METHODS
from ftkit.recipe.dump import write_value
from ftkit.recipe.schema import METRICS, Recipe

SCHEMA_NAME = "ftkit.schema.json"
"""The name under which recipes look for their schema, in their own folder."""


def json_schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12: titles, descriptions, defaults, enums."""
    schema = Recipe.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "ftkit recipe"}
    definitions, properties = schema["$defs"], schema["properties"]
    schema["required"] = ["task", "model", "data"]
    for name in ("method", "training", "evaluation", "generation"):
        properties[name] = _optional_section(properties[name])
    properties["method"]["description"] += f" Default: {_first_methods()}."
    _describe_defaults(definitions, {"training": "TrainingSpec", "evaluation": "EvaluationSpec"})
    _require_one_source(definitions["DataSpec"])
    definitions["EvaluationSpec"]["properties"]["metrics"]["items"] = {
        "anyOf": [{"enum": list(METRICS)}, {"type": "string", "pattern": "^evaluate:.+$"}]
    }
    return schema


def schema_text() -> str:
    """The schema as it is printed and written to files."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _optional_section(section: dict[str, Any]) -> dict[str, Any]:
    """A section that may be left out, or stand there with every key commented out."""
    description = section.pop("description", "")
    section.pop("discriminator", None)
    choices = section.pop("oneOf", None) or [section]
    return {"description": description, "anyOf": [*choices, {"type": "null"}, {"const": {}}]}


def _first_methods() -> str:
    return ", ".join(f"{methods[0]} ({task})" for task, methods in TASK_METHODS.items())


def _describe_defaults(definitions: dict[str, Any], sections: dict[str, str]) -> None:
    """Keys whose default depends on task and method may be left out; their descriptions list the defaults."""
    keys = next(iter(DEFAULTS.values()))
    for section, definition in sections.items():
        del definitions[definition]["required"]
        for name in (key.partition(".")[2] for key in keys if key.startswith(f"{section}.")):
            field = definitions[definition]["properties"][name]
            field["description"] = f"{field['description']} Default: {_default_text(f'{section}.{name}')}."


def _default_text(key: str) -> str:
    """Each default with the tasks and methods that have it."""
    owners: dict[str, list[str]] = {}
    for (task, method), values in DEFAULTS.items():
        owners.setdefault(write_value(values[key]), []).append(f"{task} {method}")
    if key == "evaluation.metrics":
        owners[write_value(LABEL_TEXT_METRICS)] = ["seq2seq with data.labels_as_text"]
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in owners.items())


def _require_one_source(data: dict[str, Any]) -> None:
    """Either train_file or dataset_name; null is the same as not there."""
    named, absent = {"type": "string"}, {"type": "null"}
    data["oneOf"] = [
        {"required": ["train_file"], "properties": {"train_file": named, "dataset_name": absent}},
        {"required": ["dataset_name"], "properties": {"dataset_name": named, "train_file": absent}},
    ]
