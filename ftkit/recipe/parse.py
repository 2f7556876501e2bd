"""A recipe file and overrides to a Recipe: every problem at once with its line, and where each value came from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftkit.errors import Problem, RecipeError
from ftkit.recipe.defaults import defaults_of, is_read
from ftkit.recipe.dump import dump_recipe
from ftkit.recipe.facts import Facts
from ftkit.recipe.keys import fields_of
from ftkit.recipe.messages import describe_errors, found
from ftkit.recipe.paths import (
    FILE_KEYS,
    NAME_KEYS,
    TEMPLATE_KEY,
    Located,
    absolute,
    absolute_metric,
    locate_file,
    locate_name,
    locate_template,
)
from ftkit.recipe.reading import (
    SECTION_NAMES,
    Reading,
    default_node,
    drop_broken,
    fill_method_defaults,
    refuse_python_none,
    refuse_unknown_keys,
    settle_sections,
)
from ftkit.recipe.rules import broken_rules
from ftkit.recipe.schema import Recipe
from ftkit.recipe.yaml.nodes import Flaw, Node, Place, compose, plain_value
from ftkit.recipe.yaml.overrides import apply_overrides
from ftkit.recipe.yaml.text import read_recipe_text

__all__ = ["LoadedRecipe", "dump_recipe", "load_recipe", "parse_recipe"]


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and its history.

    Attributes:
        recipe: valid, every default filled in, every path absolute.
        sources: dotted key -> `line 4`, `override 1`, `default` or `default of method frozen`.
        path: the file.
        text: what the file says.
    """

    recipe: Recipe
    sources: dict[str, str]
    path: Path
    text: str


def load_recipe(path: Path, overrides: Sequence[str] = (), *, check_files: bool = True) -> LoadedRecipe:
    """Read a recipe file.

    Args:
        path: a YAML file.
        overrides: dotted `key=value` words; paths in them are relative to the working directory.
        check_files: whether files and folders that the recipe names must exist.

    Raises:
        RecipeError: with every problem of the file and the overrides.
    """
    path = Path(path)
    return parse_recipe(read_recipe_text(path), path, overrides, check_files=check_files)


def parse_recipe(text: str, path: Path, overrides: Sequence[str] = (), *, check_files: bool = True) -> LoadedRecipe:
    """As `load_recipe`, for text that has been read already; `path` names it and anchors its relative paths."""
    root, flaws = compose(text, lambda line, column: Place(0, line, column))
    if root is None and not flaws:
        flaws = [Flaw(Place(0, 1, 1), "", "the recipe is empty", "`ftkit new` writes one")]
    elif root is not None and not isinstance(root.value, dict):
        flaws.append(Flaw(root.place, "", f"a recipe is keys and values, found {found(root)}", "begin with `task:`"))
        root = None
    if root is None:
        raise RecipeError(_problems(flaws, path))
    reading = Reading(path, root, flaws)
    reading.flaws += apply_overrides(root, overrides)
    for stage in (drop_broken, settle_sections, refuse_unknown_keys, refuse_python_none, fill_method_defaults):
        stage(reading)
    recipe = _validate(reading)
    if recipe is not None:
        recipe = _resolve_paths(reading, recipe, check_files=check_files)
        _apply_rules(reading, recipe)
    if reading.flaws:
        raise RecipeError(_problems(reading.flaws, path))
    assert recipe is not None, "a recipe without flaws is valid"
    return LoadedRecipe(recipe, _sources(reading, recipe), path, text)


def _problems(flaws: Sequence[Flaw], path: Path) -> list[Problem]:
    ordered = sorted(dict.fromkeys(flaws), key=lambda flaw: (flaw.place[:3], flaw.key))
    return [Problem(flaw.place.where(str(path)), flaw.key, flaw.message, flaw.fix) for flaw in ordered]


def _validate(reading: Reading) -> Recipe | None:
    """Validate; on errors report them, and try again without the wrong values so that the rules can speak too."""
    for _attempt in range(3):
        try:
            return Recipe.model_validate(plain_value(reading.root))
        except ValidationError as error:
            records: list[Any] = list(error.errors(include_url=False))
        for key, flaw in describe_errors(records, reading.root, reading.method):
            if key not in reading.silent:
                reading.say(flaw, key)
            _take_out(reading, key)
    return None


def _take_out(reading: Reading, key: str) -> None:
    """Replace a wrong or missing value by its default or, where it has none, by something valid."""
    section, _, name = key.rpartition(".")
    holder = reading.node(section) if section else reading.root
    if holder is None or not isinstance(holder.value, dict):
        return
    earlier = holder.value.pop(name, None)
    stand_ins = {"task": reading.task, "model.name_or_path": "builtin:none"}
    stand_in = stand_ins.get(key, defaults_of(reading.task, reading.method).get(key))
    if stand_in is not None:
        place = earlier.key_place if earlier is not None else Place(0, 0, 0, "default")
        holder.value[name] = default_node(stand_in, place)


def _apply_rules(reading: Reading, recipe: Recipe) -> None:
    given = {
        f"{section}.{key}"
        for section in SECTION_NAMES
        for key, node in _children(reading, section).items()
        if node.value is not None and not node.key_place.note
    }
    facts = Facts(recipe, frozenset(given | reading.silent))
    for finding in broken_rules(facts):
        if finding.key not in reading.silent:
            reading.flaws.append(Flaw(reading.place(finding.key), finding.key, finding.message, finding.fix))


def _children(reading: Reading, section: str) -> Mapping[str, Node]:
    value = reading.sections[section].value
    return value if isinstance(value, dict) else {}


def _resolve_paths(reading: Reading, recipe: Recipe, *, check_files: bool) -> Recipe:
    """Make the recipe's paths absolute, and report those with nothing at them."""
    updates: dict[str, dict[str, str | list[str]]] = {}
    for key in (*FILE_KEYS, *NAME_KEYS, TEMPLATE_KEY):
        section, _, name = key.rpartition(".")
        text = getattr(getattr(recipe, section), name)
        if text is None or key in reading.silent:
            continue
        node = reading.node(key)
        base = _base(reading, node)
        located = _locate(key, text, base)
        updates.setdefault(section, {})[name] = located.value
        if located.message and check_files and node is not None:
            reading.say(Flaw(node.place, key, located.message, located.fix), key)
    updates["training"] = {"output_dir": _output_dir(reading, recipe)}
    base = _base(reading, reading.node("evaluation.metrics"))
    metrics: list[str] = [absolute_metric(name, base) for name in recipe.evaluation.metrics]
    updates.setdefault("evaluation", {})["metrics"] = metrics
    sections = {name: getattr(recipe, name).model_copy(update=update) for name, update in updates.items()}
    return recipe.model_copy(update=sections)


def _locate(key: str, text: str, base: Path) -> Located:
    if key == TEMPLATE_KEY:
        return locate_template(text, base)
    return locate_file(text, base) if key in FILE_KEYS else locate_name(key, text, base)


def _output_dir(reading: Reading, recipe: Recipe) -> str:
    if recipe.training.output_dir is None:
        return os.path.abspath(os.path.join("runs", reading.path.stem))
    return absolute(recipe.training.output_dir, _base(reading, reading.node("training.output_dir")))


def _base(reading: Reading, node: Node | None) -> Path:
    """What a relative path is relative to: the recipe's folder, or for an override the working directory."""
    return Path.cwd() if node is not None and node.place.override else reading.path.parent


def _sources(reading: Reading, recipe: Recipe) -> dict[str, str]:
    sources = {"task": reading.place("task").source}
    for section in SECTION_NAMES:
        for key in fields_of(section, recipe.method.type):
            if not is_read(f"{section}.{key}", recipe.task):
                continue
            node = reading.node(f"{section}.{key}")
            sources[f"{section}.{key}"] = "default" if node is None else _source(node)
    return sources


def _source(node: Node) -> str:
    """Where a value was said; a mapping that overrides have added to names each place."""
    if not isinstance(node.value, dict):
        return node.key_place.source
    places = [node.key_place, *(child.key_place for child in node.value.values() if child.key_place.override)]
    return ", ".join(dict.fromkeys(place.source for place in places))
