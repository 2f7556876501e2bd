"""A recipe file and overrides to a Recipe: every problem at once with its line, and where each value came from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftkit.errors import Problem, RecipeError
from ftkit.recipe.defaults import METHOD_DEFAULTS
from ftkit.recipe.dump import dump_recipe
from ftkit.recipe.keys import METHODS, answer_unknown, fields_of, nearest
from ftkit.recipe.messages import describe_errors, found, missing
from ftkit.recipe.nodes import Flaw, Node, Place, compose, plain_value
from ftkit.recipe.overrides import apply_overrides
from ftkit.recipe.paths import FILE_KEYS, NAME_KEYS, absolute, locate_file, locate_name
from ftkit.recipe.rules import Facts, broken_rules
from ftkit.recipe.schema import Recipe
from ftkit.recipe.text import read_recipe_text

__all__ = ["LoadedRecipe", "dump_recipe", "load_recipe", "parse_recipe"]

SECTION_NAMES = ("model", "method", "data", "training", "evaluation")
LATER_TASKS = ("causal_lm", "seq2seq")
"""Tasks that are planned; a recipe that names one is answered honestly."""


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


@dataclass
class _Reading:
    """A recipe on its way from text to Recipe: stages add flaws and go on.

    Attributes:
        silent: dotted keys about which enough has been said; no later stage speaks of them.
    """

    path: Path
    root: Node
    flaws: list[Flaw] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    method: str = "frozen"

    def say(self, flaw: Flaw, *keys: str) -> None:
        self.flaws.append(flaw)
        self.silent.update(keys)

    @property
    def sections(self) -> dict[str, Node]:
        assert isinstance(self.root.value, dict)
        return self.root.value

    def node(self, key: str) -> Node | None:
        node: Node | None = self.root
        for word in key.split("."):
            node = node.value.get(word) if node is not None and isinstance(node.value, dict) else None
        return node

    def place(self, key: str) -> Place:
        """The key's place, else its section's, else the top of the file."""
        for known in (key, key.rpartition(".")[0]):
            node = self.node(known) if known else None
            if node is not None and not node.key_place.note:
                return node.key_place
        return Place(0, 1, 1)


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
    reading = _Reading(path, root, flaws)
    reading.flaws += apply_overrides(root, overrides)
    for stage in (_drop_broken, _settle_sections, _refuse_unknown_keys, _fill_method_defaults):
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


def _drop_broken(reading: _Reading) -> None:
    """Take out what the reader of the text has complained about already."""

    def drop(node: Node, path: str) -> None:
        assert isinstance(node.value, dict)
        for key, child in list(node.value.items()):
            dotted = f"{path}.{key}" if path else key
            if child.broken or (isinstance(child.value, list) and any(item.broken for item in child.value)):
                del node.value[key]
                reading.silent.add(dotted)
            elif isinstance(child.value, dict):
                drop(child, dotted)

    drop(reading.root, "")


def _settle_sections(reading: _Reading) -> None:
    """Make every section a mapping: absent and empty ones too, so that later stages need not ask."""
    _rename_typos(reading, "")
    for name in SECTION_NAMES:
        node = reading.sections.get(name)
        if node is not None and node.value is not None and not isinstance(node.value, dict):
            _misplaced_value(reading, name, node)
            node = None
        if node is None or node.value is None:
            required = name in ("model", "data") and name not in reading.silent
            if required:
                reading.say(missing(name, reading.root), name, f"{name}.name_or_path")
            place = node.key_place if node is not None else Place(0, 0, 0, "default")
            reading.sections[name] = Node({}, place, place)
    _settle_task(reading)
    _settle_method(reading)


def _misplaced_value(reading: _Reading, name: str, node: Node) -> None:
    """Say what to do about `model: bert-base-uncased` and its like."""
    keys = {"model": "name_or_path", "method": "type", "data": "train_file"}
    fix = "write its keys below it, indented"
    if isinstance(node.value, str) and name in keys and node.value:
        fix = f"write {{{keys[name]}: {node.value[:60]}}}"
    reading.say(Flaw(node.place, name, f"must be keys below it, found {found(node)}", fix), name)
    if name in keys:
        reading.silent.add(f"{name}.{keys[name]}")


def _settle_task(reading: _Reading) -> None:
    node = reading.sections.get("task")
    if node is not None and node.value in LATER_TASKS:
        fix = "this version trains task: classification"
        reading.say(Flaw(node.place, "task", f"{node.value} is not in this version", fix), "task")
        reading.sections["task"] = Node("classification", node.place, node.key_place)


def _settle_method(reading: _Reading) -> None:
    """Find the type of method, or the one that was meant, so that the keys beside it can be checked too."""
    method = reading.sections["method"]
    assert isinstance(method.value, dict)
    _rename_typos(reading, "method", only="type")
    kind = method.value.get("type")
    if kind is None and not method.value:
        place = Place(0, 0, 0, "default")
        method.value["type"] = Node("frozen", place, place)
    elif kind is None:
        reading.method = next(
            (name for name, model in METHODS.items() if set(method.value) & set(model.model_fields)), "frozen"
        )
        if "method.type" not in reading.silent:
            reading.say(missing("method.type", reading.root), "method.type")
    elif isinstance(kind.value, str) and kind.value in METHODS:
        reading.method = kind.value
    else:
        reading.method = _guess_method(reading, kind)
    if reading.method != getattr(method.value.get("type"), "value", None):
        method.value["type"] = Node(reading.method, method.place, method.key_place)


def _guess_method(reading: _Reading, kind: Node) -> str:
    word = kind.value.lower() if isinstance(kind.value, str) else ""
    near = nearest(word, METHODS) if word else None
    fix = f"did you mean {near}?" if near else ""
    if word in ("prompt_tuning", "prefix_tuning", "p_tuning", "ia3", "qlora"):
        fix = "this version has frozen, full and lora"
    message = f"must be one of {', '.join(METHODS)}, found {found(kind)}"
    reading.say(Flaw(kind.place, "method.type", message, fix), "method.type")
    return near or "frozen"


def _rename_typos(reading: _Reading, section: str, only: str | None = None) -> None:
    """Report misspelt keys of one place, and read on as if they had been spelt right."""
    node = reading.node(section) if section else reading.root
    assert node is not None
    assert isinstance(node.value, dict)
    known = fields_of(section, reading.method)
    for key in [key for key in node.value if key not in known]:
        answer = answer_unknown(section, key, method=reading.method, taken=node.value)
        meant = answer.meant.rpartition(".")[2]
        here = answer.meant == (f"{section}.{meant}" if section else meant)
        if only is not None and (meant != only or not here):
            continue
        child = node.value.pop(key)
        path = f"{section}.{key}" if section else key
        reading.say(Flaw(child.key_place, path, answer.message, answer.fix), path)
        if here and meant in known and meant not in node.value and not (section == "" and child.value is None):
            node.value[meant] = child
        elif answer.meant and reading.node(answer.meant) is None:
            # what was meant is there, if in the wrong place: nobody should hear that it is missing
            reading.silent.add(answer.meant)
            reading.silent.add(answer.meant.partition(".")[0])


def _refuse_unknown_keys(reading: _Reading) -> None:
    for section in SECTION_NAMES:
        _rename_typos(reading, section)


def _fill_method_defaults(reading: _Reading) -> None:
    training = reading.sections["training"].value
    assert isinstance(training, dict)
    steps, epochs = training.get("max_steps"), training.get("num_train_epochs")
    note = f"default of method {reading.method}"
    if steps is not None and steps.place.override and epochs is not None and not epochs.place.override:
        # `training.max_steps=20` on the command line means: instead of the epochs that the file asks for
        del training["num_train_epochs"]
        note_epochs = f"{note} (max_steps decides)"
    else:
        note_epochs = note
    for key, value in METHOD_DEFAULTS[reading.method].items():
        name = key.rpartition(".")[2]
        if name not in training:
            place = Place(0, 0, 0, note_epochs if name == "num_train_epochs" else note)
            training[name] = Node(value, place, place)  # type: ignore[arg-type]


def _validate(reading: _Reading) -> Recipe | None:
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


_STAND_INS = {"task": "classification", "model.name_or_path": "builtin:none"}


def _take_out(reading: _Reading, key: str) -> None:
    """Replace a wrong or missing value by its default or, where it has none, by something valid."""
    section, _, name = key.rpartition(".")
    holder = reading.node(section) if section else reading.root
    if holder is None or not isinstance(holder.value, dict):
        return
    earlier = holder.value.pop(name, None)
    stand_in = _STAND_INS.get(key, METHOD_DEFAULTS[reading.method].get(key))
    if stand_in is not None:
        place = earlier.key_place if earlier is not None else Place(0, 0, 0, "default")
        holder.value[name] = Node(stand_in, place, place)  # type: ignore[arg-type]


def _apply_rules(reading: _Reading, recipe: Recipe) -> None:
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


def _children(reading: _Reading, section: str) -> Mapping[str, Node]:
    value = reading.sections[section].value
    return value if isinstance(value, dict) else {}


def _resolve_paths(reading: _Reading, recipe: Recipe, *, check_files: bool) -> Recipe:
    """Make the recipe's paths absolute, and report those with nothing at them."""
    updates: dict[str, dict[str, str]] = {}
    for key in (*FILE_KEYS, *NAME_KEYS):
        section, _, name = key.rpartition(".")
        text = getattr(getattr(recipe, section), name)
        if text is None or key in reading.silent:
            continue
        node = reading.node(key)
        base = _base(reading, node)
        located = locate_file(text, base) if key in FILE_KEYS else locate_name(key, text, base)
        updates.setdefault(section, {})[name] = located.value
        if located.message and check_files and node is not None:
            reading.say(Flaw(node.place, key, located.message, located.fix), key)
    updates["training"] = {"output_dir": _output_dir(reading, recipe)}
    sections = {name: getattr(recipe, name).model_copy(update=update) for name, update in updates.items()}
    return recipe.model_copy(update=sections)


def _output_dir(reading: _Reading, recipe: Recipe) -> str:
    if recipe.training.output_dir is None:
        return os.path.abspath(os.path.join("runs", reading.path.stem))
    return absolute(recipe.training.output_dir, _base(reading, reading.node("training.output_dir")))


def _base(reading: _Reading, node: Node | None) -> Path:
    """What a relative path is relative to: the recipe's folder, or for an override the working directory."""
    return Path.cwd() if node is not None and node.place.override else reading.path.parent


def _sources(reading: _Reading, recipe: Recipe) -> dict[str, str]:
    sources = {"task": reading.place("task").source}
    for section in SECTION_NAMES:
        for key in fields_of(section, recipe.method.type):
            node = reading.node(f"{section}.{key}")
            sources[f"{section}.{key}"] = "default" if node is None else _source(node)
    return sources


def _source(node: Node) -> str:
    """Where a value was said; a mapping that overrides have added to names each place."""
    if not isinstance(node.value, dict):
        return node.key_place.source
    places = [node.key_place, *(child.key_place for child in node.value.values() if child.key_place.override)]
    return ", ".join(dict.fromkeys(place.source for place in places))
