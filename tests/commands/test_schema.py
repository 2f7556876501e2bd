"""The JSON Schema agrees with the reader: what is read is accepted, and the same keys are required."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftkit.commands.schema import SCHEMA_NAME, json_schema, schema_text
from ftkit.errors import RecipeError
from ftkit.recipe.yaml.nodes import Place, compose, plain_value
from ftkit.tasks.table import read_recipe, task_rules
from tests.recipe.broken_recipes import VALID, broken_recipe

REPOSITORY = Path(__file__).parents[2]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
SCHEMA, TASKS = json_schema(), task_rules()
TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "default", "type", "enum", "const", "anyOf", "oneOf", "items",
    "properties", "patternProperties", "required", "additionalProperties", "pattern", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems",
}  # fmt: skip


def has_type(value: object, name: str | list[str]) -> bool:
    if isinstance(name, list):
        return any(has_type(value, one) for one in name)
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
    return set(schema.get("required", ())) <= set(value) and all(
        accepts(part, item) for key, item in value.items() for part in parts_for(schema, key)
    )


def parts_for(schema: dict[str, Any], key: str) -> list[Any]:
    """The schemas that the value of a key has to fit."""
    named = [schema["properties"][key]] if key in schema.get("properties", {}) else []
    named += [part for pattern, part in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
    return named or [schema.get("additionalProperties", True)]


def is_read(text: str) -> bool:
    try:
        read_recipe(Path("my.yaml"), text=text, check_files=False)
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
    for seed in range(200):
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
    for definition in SCHEMA["$defs"].values():
        assert definition["description"]
        for key, field in definition["properties"].items():
            assert field["title"], key
            assert len(field["description"]) > 10, key


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_task_is_offered_its_own_keys_and_methods_and_no_others(task: str) -> None:
    rules = TASKS[task]
    offered = {name.partition(".")[2]: part for name, part in SCHEMA["$defs"].items() if name.startswith(f"{task}.")}
    assert set(offered) == {*rules.fields("full"), *rules.methods} - {"method"}
    for name, part in offered.items():
        section, method = ("method", name) if name in rules.methods else (name, "full")
        assert set(part["properties"]) == set(rules.fields(method)[section])
    assert set(SCHEMA["$defs"][task]["properties"]) == {"task", *rules.fields("full")}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_of_a_key_of_another_task_only_the_value_that_changes_nothing_is_accepted(task: str) -> None:
    rules = TASKS[task]
    source = "train_file: a.csv" if task != "seq2seq" else "train_file: a.csv, source_column: s, target_column: t"
    num_tried = 0
    for other in TASKS.values():
        for section, fields in other.fields("lora").items():
            for key, field in fields.items():
                if key in rules.fields("lora").get(section, {}):
                    continue
                default = field.get_default(call_default_factory=True)
                for value, good in ((default, True), ("x" if default is None else not default, False)):
                    method = {"type": "lora"} | ({key: value} if section == "method" else {})
                    text = (
                        f"task: {task}\nmodel: {{name_or_path: x}}\ndata: {{{source}}}\nmethod: {json.dumps(method)}\n"
                    )
                    recipe = value_of(text)
                    recipe.setdefault(section, {})[key] = value
                    assert accepts(SCHEMA, recipe) == good, (section, key, value)
                    assert is_read(json.dumps(recipe)) == good, (section, key, value)
                    num_tried += 1
    assert num_tried > 10


def test_the_schema_beside_the_recipes_is_the_one_that_is_printed() -> None:
    path = REPOSITORY / "recipes" / SCHEMA_NAME
    assert path.read_text("utf-8") == schema_text(), f"run: ftkit schema > recipes/{SCHEMA_NAME}"
    json.loads(schema_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
