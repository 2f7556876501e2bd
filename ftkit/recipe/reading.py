"""A recipe between text and Recipe: the stages that settle its tree before pydantic sees it.

Each stage reports what it finds and leaves the tree in a shape that the next one can go on with, so that one reading
finds every problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from ftkit.methods.section import Finding
from ftkit.methods.table import METHODS
from ftkit.recipe.keys import answer_unknown, keys_of
from ftkit.recipe.nearest import nearest
from ftkit.recipe.task_rules import TaskRules, Tasks, sections_of
from ftkit.recipe.yaml.messages import found, missing, unlike
from ftkit.recipe.yaml.nodes import Flaw, Node, Place, plain_value


@dataclass
class Reading:
    """A recipe on its way from text to Recipe: stages add flaws and go on.

    Attributes:
        path: names the recipe, and anchors its relative paths.
        root: its tree, a mapping.
        tasks: all there are.
        flaws: what was found so far.
        silent: dotted keys about which enough has been said; no later stage speaks of them.
        sections: names of those that any task has.
        task: that of the recipe, once it is known.
        method: its method.type, once it is known.
        own: section -> key -> field, of the keys that the task reads, once both are known.
    """

    path: Path
    root: Node
    tasks: Tasks
    flaws: list[Flaw]
    silent: set[str]
    sections: list[str]
    task: TaskRules[Any]
    method: str
    own: dict[str, dict[str, FieldInfo]]

    def say(self, flaw: Flaw, *keys: str) -> None:
        """Report a flaw; nothing more is to be said about `keys`."""
        self.flaws.append(flaw)
        self.silent.update(keys)

    def criticise(self, finding: Finding) -> None:
        """Report a rule that is broken, unless enough was said about its key, or about another that decides it."""
        if self.silent.isdisjoint({finding.key, *finding.decided_by}):
            self.flaws.append(Flaw(self.place(finding.key), finding.key, finding.message, finding.fix))

    def below(self, section: str) -> dict[str, Node]:
        """The keys of a section that has been settled; of the top level for an empty name."""
        value = self.root.value
        if section:
            assert isinstance(value, dict)
            value = value[section].value
        assert isinstance(value, dict)
        return value

    def node(self, key: str) -> Node | None:
        """What stands at a dotted key, or None; `[1]` behind a word is the second of a list."""
        node: Node | None = self.root
        for word, place in re.findall(r"([^.\[\]]+)|\[(\d+)\]", key):
            value = None if node is None else node.value
            if place:
                node = value[int(place)] if isinstance(value, list) and int(place) < len(value) else None
            else:
                node = value.get(word) if isinstance(value, dict) else None
        return node

    def place(self, key: str) -> Place:
        """The key's place, else its section's, else the top of the file."""
        for known in (key, key.rpartition(".")[0]):
            node = self.node(known) if known else None
            if node is not None and not node.key_place.note:
                return node.key_place
        return Place(0, 1, 1)


def begin(path: Path, root: Node, tasks: Tasks, flaws: list[Flaw]) -> Reading:
    """A tree as it was read, of the first task and with its first method until they are known."""
    task, method = next(iter(tasks.values())), next(iter(METHODS))
    return Reading(path, root, tasks, flaws, set(), sections_of(tasks), task, method, {})


def drop_broken(reading: Reading) -> None:
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
            elif isinstance(child.value, list):
                for place, item in enumerate(child.value):
                    if isinstance(item.value, dict):
                        drop(item, f"{dotted}[{place}]")

    drop(reading.root, "")


def settle_sections(reading: Reading) -> None:
    """Make every section a mapping: absent and empty ones too, so that later stages need not ask."""
    top = reading.below("")
    if not top.keys() <= {"task", *reading.sections}:
        _rename_typos(reading, "")
    for name in reading.sections:
        node = top.get(name)
        if node is not None and node.value is not None and not isinstance(node.value, dict):
            _misplaced_value(reading, name, node)
            node = None
        if node is None or node.value is None:
            if name in ("model", "data") and name not in reading.silent:
                reading.say(missing(name, reading.root), name)
            reading.silent.update((f"{name}.name_or_path", f"{name}.type") if name in reading.silent else ())
            place = node.key_place if node is not None else Place(0, 0, 0, "default")
            top[name] = Node({}, place, place)


def _misplaced_value(reading: Reading, name: str, node: Node) -> None:
    """Say what to do about `model: bert-base-uncased` and its like."""
    keys = {"model": "name_or_path", "method": "type", "data": "train_file"}
    fix = "write its keys below it, indented"
    if isinstance(node.value, str) and name in keys and node.value:
        fix = f"write {{{keys[name]}: {node.value[:60]}}}"
    reading.say(Flaw(node.place, name, f"must be keys below it, found {found(node)}", fix), name)
    if name in keys:
        reading.silent.add(f"{name}.{keys[name]}")


def settle_task(reading: Reading) -> None:
    """Find the task, or the one that was meant, so that its keys can be checked too."""
    node = reading.below("").get("task")
    word = node.value.lower() if node is not None and isinstance(node.value, str) else ""
    if node is not None and node.value in list(reading.tasks):
        reading.task = reading.tasks[str(node.value)]
        return
    elsewhere = next((name for name, task in reading.tasks.items() if word in task.names), None)
    meant = (nearest(word, reading.tasks) if word else None) or elsewhere
    reading.task = reading.tasks[meant or next(iter(reading.tasks))]
    if node is None:
        fix = f"write {', or '.join(f'task: {name}' for name in reading.tasks)}"
        flaw = Flaw(reading.root.place, "task", "missing", fix)
    else:
        message, fix = unlike(f"one of {', '.join(reading.tasks)}", node)
        flaw = Flaw(node.place, "task", message, f"it is called {elsewhere} here" if elsewhere else fix)
    if "task" not in reading.silent:
        reading.say(flaw, "task")


def settle_method(reading: Reading) -> None:
    """Find the type of method, or the one that was meant, so that the keys beside it can be checked too."""
    below, methods = reading.below("method"), reading.task.methods
    if below and "type" not in below:
        _rename_typos(reading, "method", only="type")
    kind, holder = below.get("type"), reading.below("")["method"]
    place, key_place = holder.place, holder.key_place
    if kind is None and below:
        reading.method = next((name for name in methods if set(below) & set(METHODS[name].model_fields)), "")
        if "method.type" not in reading.silent:
            reading.say(missing("method.type", reading.root), "method.type")
    elif kind is None:
        reading.method = ""
        place = key_place = Place(0, 0, 0, "default")
    elif isinstance(kind.value, str) and kind.value in METHODS:
        reading.method = kind.value
        if kind.value not in methods:
            message = f"no {kind.value} for task {reading.task.name}: {reading.task.no_method[kind.value]}"
            fix = f"task {reading.task.name} has {', '.join(methods)}"
            reading.say(Flaw(reading.place("method.type"), "method.type", message, fix), "method.type")
    else:
        reading.method = _guess_method(reading, kind)
    reading.method = reading.method or next(iter(methods))
    reading.own = reading.task.fields(reading.method)
    if kind is None or kind.value != reading.method:
        below["type"] = Node(reading.method, place, key_place)


def _guess_method(reading: Reading, kind: Node) -> str:
    methods = ", ".join(reading.task.methods)
    word = kind.value.lower() if isinstance(kind.value, str) else ""
    near = nearest(word, METHODS) if word else None
    fix = f"did you mean {near}?" if near else ""
    if word in ("p_tuning", "qlora") or (near is not None and near not in reading.task.methods):
        fix = f"this version has {methods}"
    message = f"must be one of {methods}, found {found(kind)}"
    reading.say(Flaw(kind.place, "method.type", message, fix), "method.type")
    return near or ""


def _rename_typos(reading: Reading, section: str, only: str | None = None) -> None:
    """Report misspelt keys of one place, and read on as if they had been spelt right."""
    below, known = reading.below(section), keys_of(section, reading.method, reading.tasks)
    for key in [key for key in below if key not in known]:
        answer = answer_unknown(
            section, key, method=reading.method, task=reading.task, tasks=reading.tasks, taken=below
        )
        meant = answer.meant.rpartition(".")[2]
        here = answer.meant == (f"{section}.{meant}" if section else meant)
        if only is not None and (meant != only or not here):
            continue
        child = below.pop(key)
        path = f"{section}.{key}" if section else key
        reading.say(Flaw(child.key_place, path, answer.message, answer.fix), path)
        if here and meant in known and meant not in below and not (section == "" and child.value is None):
            below[meant] = child
        elif answer.meant and reading.node(answer.meant) is None:
            # what was meant is there, if in the wrong place: nobody should hear that it is missing
            reading.silent.add(answer.meant)
            reading.silent.add(answer.meant.partition(".")[0])


def refuse_foreign_keys(reading: Reading) -> None:
    """Report the keys that no task has, and take out those of other tasks: with a value that changes nothing in peace.

    What can be told to be a typo is read on under its right name. `revision: None` would be a revision called None:
    YAML's own word for nothing is null.
    """
    for section in reading.sections:
        below, own = reading.below(section), reading.own.get(section, {})
        if not below.keys() <= own.keys():
            _rename_typos(reading, section)
        for key, node in list(below.items()):
            dotted = f"{section}.{key}"
            if node.plain and node.value == "None":
                fix = 'write null, or remove the key; "None" in quotes is the text'
                reading.say(Flaw(node.place, dotted, "None is a word of Python, not of YAML", fix), dotted)
                del below[key]
            elif key not in own:
                del below[key]
                _refuse_foreign(reading, section, key, node)
        if section not in reading.own:
            del reading.below("")[section]


def _refuse_foreign(reading: Reading, section: str, key: str, node: Node) -> None:
    having = {name: task.fields(reading.method).get(section, {}) for name, task in reading.tasks.items()}
    owners = [name for name, fields in having.items() if key in fields]
    default = having[owners[0]][key].get_default(call_default_factory=True)
    dotted, value = f"{section}.{key}", plain_value(node)
    if dotted in reading.silent or (value == default and isinstance(value, bool) == isinstance(default, bool)):
        return
    readers = f"task {owners[0]} reads" if len(owners) == 1 else f"tasks {' and '.join(owners)} read"
    message = f"only {readers} it, and this recipe's task is {reading.task.name}"
    reading.say(Flaw(node.key_place, dotted, message, reading.task.instead.get(dotted, "remove it")), dotted)
