"""A recipe file and overrides to a Recipe: every problem at once with its line, and where each value came from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftkit.errors import Problem, RecipeError
from ftkit.methods.section import Section
from ftkit.recipe.adapter import adapter_keys, fill_base, fill_method, refuse_disagreement
from ftkit.recipe.files import Located, absolute, absolute_metric
from ftkit.recipe.reading import (
    Reading,
    begin,
    drop_broken,
    refuse_foreign_keys,
    settle_method,
    settle_sections,
    settle_task,
)
from ftkit.recipe.schema import Recipe
from ftkit.recipe.sources.entries import located_entries, refuse_unknown_keys
from ftkit.recipe.task_rules import Facts, Tasks
from ftkit.recipe.yaml.messages import describe_errors, found
from ftkit.recipe.yaml.nodes import Flaw, Node, Place, compose, node_of, plain_value
from ftkit.recipe.yaml.overrides import apply_overrides


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and its history.

    Attributes:
        recipe: valid, every default filled in, every path absolute.
        reading: how it was read.
        text: what the file says.
    """

    recipe: Recipe
    reading: Reading
    text: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.reading.path

    @cached_property
    def sources(self) -> dict[str, str]:
        """Dotted key -> `line 4`, `override 1`, `default` or `default of method frozen`."""
        keys = [f"{section}.{key}" for section, fields in self.reading.own.items() for key in fields]
        return {key: _source(self.reading.node(key)) for key in ("task", *keys)}


def parse_recipe(
    text: str, path: Path, overrides: Sequence[str] = (), *, tasks: Tasks, check_files: bool = True
) -> LoadedRecipe:
    """Read the text of a recipe.

    Args:
        text: YAML.
        path: names it, and anchors its relative paths.
        overrides: dotted `key=value` words; paths in them are relative to the working directory.
        tasks: that a recipe may be of.
        check_files: whether files and folders that the recipe names must exist.

    Raises:
        RecipeError: with every problem of the text and the overrides.
    """
    root, flaws = compose(text, lambda line, column: Place(0, line, column))
    if root is None and not flaws:
        flaws = [Flaw(Place(0, 1, 1), "", "the recipe is empty", "`ftkit new` writes one")]
    elif root is not None and not isinstance(root.value, dict):
        flaws.append(Flaw(root.place, "", f"a recipe is keys and values, found {found(root)}", "begin with `task:`"))
        root = None
    if root is None:
        raise RecipeError(_problems(flaws, path))
    if overrides:
        flaws += apply_overrides(root, overrides)
    reading = begin(path, root, tasks, flaws)
    return LoadedRecipe(_settled(reading, check_files=check_files), reading, text)


def recipe_from_values(values: Mapping[str, Any], path: Path, *, tasks: Tasks) -> Recipe:
    """As `parse_recipe`, of values by section and key instead of a text."""
    return _settled(begin(path, node_of(dict(values), Place(0, 1, 1)), tasks, []), check_files=True)


def _settled(reading: Reading, *, check_files: bool) -> Recipe:
    """The recipe at the end of all stages.

    Raises:
        RecipeError: with everything that they found.
    """
    if reading.flaws:
        drop_broken(reading)
    settle_sections(reading)
    settle_task(reading)
    fill_base(reading)
    settle_method(reading)
    refuse_foreign_keys(reading)
    refuse_unknown_keys(reading)
    fill_method(reading)
    _fill_defaults(reading)
    recipe = _validate(reading)
    if recipe is not None:
        recipe = _resolve_paths(reading, recipe, check_files=check_files)
        if check_files:
            refuse_disagreement(reading, recipe)
        _apply_rules(reading, recipe)
    if reading.flaws or recipe is None:
        raise RecipeError(_problems(reading.flaws, reading.path))
    return recipe


def _problems(flaws: Sequence[Flaw], path: Path) -> list[Problem]:
    ordered = sorted(dict.fromkeys(flaws), key=lambda flaw: (flaw.place[:3], flaw.key))
    return [Problem(flaw.place.where(str(path)), flaw.key, flaw.message, flaw.fix) for flaw in ordered]


def _fill_defaults(reading: Reading) -> None:
    """Fill in the defaults of task and method where the recipe says nothing."""
    training = reading.below("training")
    steps, epochs = training.get("max_steps"), training.get("num_train_epochs")
    note = f"default of method {reading.method}"
    if steps is not None and steps.place.override and epochs is not None and not epochs.place.override:
        # `training.max_steps=20` on the command line means: instead of the epochs that the file asks for
        del training["num_train_epochs"]
        note_epochs = f"{note} (max_steps decides)"
    else:
        note_epochs = note

    for key, value in reading.task.defaults_of(reading.method, partial(_given, reading)).items():
        section, _, name = key.partition(".")
        place = Place(0, 0, 0, note_epochs if name == "num_train_epochs" else note)
        reading.below(section).setdefault(name, node_of(value, place))


def _given(reading: Reading, key: str) -> Any:
    """The value that a key has been given; None where it has none."""
    node = reading.node(key)
    return None if node is None else node.value


def _validate(reading: Reading) -> Recipe | None:
    """Validate; on errors report them, and try again without the wrong values so that the rules can speak too."""
    for _attempt in range(3):
        errors: list[tuple[str, Any]] = []
        sections: dict[str, Section] = {}
        for name, section in reading.task.classes(reading.method).items():
            try:
                sections[name] = section.model_validate(plain_value(reading.below("")[name]))
            except ValidationError as error:
                errors += [(name, one) for one in error.errors(include_url=False)]
        if not errors:
            recipe: Recipe = reading.task.recipe(task=reading.task.name, **sections)
            return recipe
        for key, flaw in describe_errors(errors, reading.root, reading.own):
            if key not in reading.silent:
                reading.say(flaw, key)
            _take_out(reading, key)
    return None


def _take_out(reading: Reading, key: str) -> None:
    """Replace a wrong or missing value by its default or, where it has none, by something valid."""
    section, _, name = key.partition(".")
    below = reading.below(section)
    earlier = below.pop(name, None)
    defaults = reading.task.defaults_of(reading.method, lambda _: None)
    stand_in = {"model.name_or_path": "builtin:none", **defaults}.get(key)
    if stand_in is not None:
        below[name] = node_of(stand_in, earlier.key_place if earlier is not None else Place(0, 0, 0, "default"))


def _apply_rules(reading: Reading, recipe: Recipe) -> None:
    keys = {f"{section}.{key}" for section, fields in reading.own.items() for key in fields}
    given = {
        f"{section}.{key}"
        for section in reading.own
        for key, node in reading.below(section).items()
        if node.value is not None and not node.key_place.note
    }
    defaults = reading.task.defaults_of(reading.method, partial(_given, reading))
    facts = Facts(recipe, frozenset(given | (reading.silent & keys)), reading.own, defaults, reading.tasks)
    rules = (adapter_keys, *reading.task.rules)
    for findings in (recipe.method.findings(facts.given), *(rule(facts) for rule in rules)):
        for finding in findings:
            reading.criticise(finding)


def _resolve_paths(reading: Reading, recipe: Recipe, *, check_files: bool) -> Recipe:
    """Make the recipe's paths absolute, and report those with nothing at them."""
    updates: dict[str, dict[str, Any]] = {}
    for key, locate in reading.task.files.items():
        text = recipe.value(key)
        if text is None or key in reading.silent:
            continue
        section, _, name = key.partition(".")

        def say(path: str, found: Located) -> None:
            node = reading.node(path)
            if found.message and check_files and node is not None:
                reading.say(Flaw(node.place, path, found.message, found.fix), path)

        if isinstance(text, str):
            located = locate(text, _base(reading, key))
            updates.setdefault(section, {})[name] = located.value
            say(key, located)
        else:
            updates.setdefault(section, {})[name] = located_entries(text, key, _base(reading, key), say)
    output_dir = recipe.training.output_dir
    if output_dir is None:
        output_dir = os.path.join("runs", reading.path.stem)
        updates["training"] = {"output_dir": os.path.abspath(output_dir)}
    else:
        updates["training"] = {"output_dir": absolute(output_dir, _base(reading, "training.output_dir"))}
    base = _base(reading, "evaluation.metrics")
    metrics = [absolute_metric(name, base) for name in recipe.evaluation.metrics]
    updates.setdefault("evaluation", {})["metrics"] = metrics
    return recipe.model_copy(
        update={name: getattr(recipe, name).model_copy(update=update) for name, update in updates.items()}
    )


def _base(reading: Reading, key: str) -> Path:
    """What a relative path is relative to: the recipe's folder, or for an override the working directory."""
    node = reading.node(key)
    return Path.cwd() if node is not None and node.place.override else reading.path.parent


def _source(node: Node | None) -> str:
    """Where a value was said; a mapping that overrides have added to names each place."""
    if node is None:
        return "default"
    if not isinstance(node.value, dict):
        return node.key_place.source
    places = [node.key_place, *(child.key_place for child in node.value.values() if child.key_place.override)]
    return ", ".join(dict.fromkeys(place.source for place in places))
