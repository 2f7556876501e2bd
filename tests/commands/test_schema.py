"""The JSON Schema agrees with the reader: what is read is accepted, and the same keys are required."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftkit.commands.schema import SCHEMA_NAME, json_schema, schema_text
from ftkit.errors import RecipeError
from ftkit.recipe.keys import all_keys
from ftkit.recipe.parse import parse_recipe
from ftkit.recipe.yaml.nodes import Place, compose, plain_value
from tests.recipe.broken_recipes import VALID, broken_recipe

REPOSITORY = Path(__file__).parents[2]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
SCHEMA = json_schema()
TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "default", "type", "enum", "const", "anyOf", "oneOf", "items",
    "properties", "required", "additionalProperties", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength", "minItems",
}  # fmt: skip


def has_type(value: object, name: str) -> bool:
    if name in ("integer", "number"):
        number = isinstance(value, int) or (isinstance(value, float) and (name == "number" or value.is_integer()))
        return number and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def accepts(schema: Any, value: Any) -> bool:
    """A validator of the part of JSON Schema that the schema uses; an unknown keyword fails the test."""
    if isinstance(schema, bool):
        return schema
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema and not accepts(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], value):
        return False
    checks = [
        "type" not in schema or has_type(value, schema["type"]),
        "enum" not in schema or value in schema["enum"],
        "const" not in schema or value == schema["const"],
        "anyOf" not in schema or any(accepts(branch, value) for branch in schema["anyOf"]),
        "oneOf" not in schema or sum(accepts(branch, value) for branch in schema["oneOf"]) == 1,
    ]
    return all(checks) and fits_limits(schema, value) and fits_inside(schema, value)


def fits_limits(schema: dict[str, Any], value: Any) -> bool:
    if has_type(value, "number"):
        return (
            value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
            and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        )
    if isinstance(value, str):
        long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return long_enough and bool(re.search(schema.get("pattern", ""), value))
    return not isinstance(value, list) or len(value) >= schema.get("minItems", 0)


def fits_inside(schema: dict[str, Any], value: Any) -> bool:
    if isinstance(value, list):
        return all(accepts(schema.get("items", True), item) for item in value)
    if not isinstance(value, dict):
        return True
    fields, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    return set(schema.get("required", ())) <= set(value) and all(
        accepts(fields.get(key, others), item) for key, item in value.items()
    )


def is_read(text: str) -> bool:
    try:
        parse_recipe(text, Path("my.yaml"), check_files=False)
    except RecipeError:
        return False
    return True


def value_of(text: str) -> Any:
    node, _ = compose(text, lambda line, column: Place(0, line, column))
    return None if node is None else plain_value(node)


@pytest.mark.parametrize("text", [*VALID, *(path.read_text("utf-8") for path in RECIPES)])
def test_whole_recipes_are_accepted(text: str) -> None:
    assert is_read(text)
    assert accepts(SCHEMA, value_of(text))


def test_the_schema_accepts_every_broken_recipe_that_is_read_all_the_same_and_refuses_typos() -> None:
    num_read = 0
    for seed in range(400):
        case = broken_recipe(seed)
        if case.kind in ("bytes", "junk"):
            continue
        text = case.text.decode()
        accepted, read = accepts(SCHEMA, value_of(text)), is_read(text)
        num_read += read
        assert accepted or not read, f"seed {seed}: read, but the schema refuses it"
        assert not (accepted and case.kind == "typo"), f"seed {seed}: the schema accepts {case.typo}"
    assert num_read > 5


MINIMAL = "task: classification\nmodel: {name_or_path: x}\ndata: {train_file: a.csv}\n"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (MINIMAL, True),
        (MINIMAL + "method:\ntraining:\nevaluation:\n", True),
        (MINIMAL + "method: {}\n", True),
        (MINIMAL + "method: {pooling: mean}\n", False),
        (MINIMAL + "training: {learning_rate: null}\n", False),
        (MINIMAL.replace("train_file: a.csv", "train_file: a.csv, dataset_name: null"), True),
        (MINIMAL.replace("train_file: a.csv", "train_file: a.csv, dataset_name: b"), False),
        (MINIMAL.replace("train_file: a.csv", ""), False),
        (MINIMAL.replace("name_or_path: x", ""), False),
        (MINIMAL.replace("task: classification\n", ""), False),
        (MINIMAL + "evaluation: {metrics: [acc]}\n", False),
        (MINIMAL + "evaluation: {metrics: ['evaluate:x']}\n", True),
        (MINIMAL + "training: {seed: -1}\n", False),
    ],
)
def test_schema_and_reader_agree(text: str, good: bool) -> None:
    assert is_read(text) == good
    assert accepts(SCHEMA, value_of(text)) == good


def test_every_key_has_a_title_and_a_description() -> None:
    seen = set()
    for definition in SCHEMA["$defs"].values():
        assert definition["description"]
        for key, field in definition["properties"].items():
            assert field["title"], key
            assert len(field["description"]) > 10, key
            seen.add(key)
    assert seen == set(all_keys())


def test_the_schema_beside_the_recipes_is_the_one_that_is_printed() -> None:
    path = REPOSITORY / "recipes" / SCHEMA_NAME
    assert path.read_text("utf-8") == schema_text(), f"run: ftkit schema > recipes/{SCHEMA_NAME}"
    json.loads(schema_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
