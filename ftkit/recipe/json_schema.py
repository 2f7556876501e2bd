"""The JSON Schema of a recipe, for editors: it accepts whatever `load_recipe` accepts.

The reverse cannot hold: what depends on files, or on several keys at once, is beyond a schema that people can read.
"""

from __future__ import annotations

import json
from typing import Any

from ftkit.recipe.defaults import METHOD_DEFAULTS
from ftkit.recipe.schema import METRICS, Recipe

SCHEMA_NAME = "ftkit.schema.json"
"""The name under which recipes look for their schema, in their own folder."""


def json_schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12: titles, descriptions, defaults, enums."""
    schema = Recipe.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "ftkit recipe"}
    definitions, properties = schema["$defs"], schema["properties"]
    schema["required"] = ["task", "model", "data"]
    for name, default in (("method", {"type": "frozen"}), ("training", None), ("evaluation", None)):
        properties[name] = _optional_section(properties[name], default)
    _describe_method_defaults(definitions["TrainingSpec"])
    _require_one_source(definitions["DataSpec"])
    definitions["EvaluationSpec"]["properties"]["metrics"]["items"] = {
        "anyOf": [{"enum": list(METRICS)}, {"type": "string", "pattern": "^evaluate:.+$"}]
    }
    return schema


def schema_text() -> str:
    """The schema as it is printed and written to files."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _optional_section(section: dict[str, Any], default: object) -> dict[str, Any]:
    """A section that may be left out, or stand there with every key commented out."""
    description = section.pop("description", "")
    section.pop("discriminator", None)
    choices = section.pop("oneOf", None) or [section]
    empty = [{"type": "null"}] if default is None else [{"type": "null"}, {"const": {}}]
    optional = {"description": description, "anyOf": [*choices, *empty]}
    return optional if default is None else {**optional, "default": default}


def _describe_method_defaults(training: dict[str, Any]) -> None:
    del training["required"]
    for key in METHOD_DEFAULTS["frozen"]:
        field = training["properties"][key.removeprefix("training.")]
        values = ", ".join(f"{values[key]} ({method})" for method, values in METHOD_DEFAULTS.items())
        field["description"] = f"{field['description']} Default: {values}."


def _require_one_source(data: dict[str, Any]) -> None:
    """Either train_file or dataset_name; null is the same as not there."""
    named, absent = {"type": "string"}, {"type": "null"}
    data["oneOf"] = [
        {"required": ["train_file"], "properties": {"train_file": named, "dataset_name": absent}},
        {"required": ["dataset_name"], "properties": {"dataset_name": named, "train_file": absent}},
    ]
