"""A recipe between text and Recipe: the stages that settle its tree before pydantic sees it.

Each stage reports what it finds and leaves the tree in a shape that the next one can go on with, so that one reading
finds every problem.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ftkit.recipe.defaults import TASK_METHODS, defaults_of
from ftkit.recipe.keys import METHODS, answer_unknown, fields_of, nearest
from ftkit.recipe.messages import found, missing
from ftkit.recipe.vocabulary import TODAYS_TASK
from ftkit.recipe.yaml.nodes import Flaw, Node, Place

SECTION_NAMES = ("model", "method", "data", "training", "evaluation", "generation")


@dataclass
class Reading:
    """A recipe on its way from text to Recipe: stages add flaws and go on.

    Attributes:
        silent: dotted keys about which enough has been said; no later stage speaks of them.
    """

    path: Path
    root: Node
    flaws: list[Flaw] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    task: str = "classification"
    method: str = "frozen"

    def say(self, flaw: Flaw, *keys: str) -> None:
        """Report a flaw; nothing more is to be said about `keys`."""
        self.flaws.append(flaw)
        self.silent.update(keys)

    @property
    def sections(self) -> dict[str, Node]:
        """The top level of the recipe."""
        assert isinstance(self.root.value, dict)
        return self.root.value

    def node(self, key: str) -> Node | None:
        """What stands at a dotted key, or None."""
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

    drop(reading.root, "")


def settle_sections(reading: Reading) -> None:
    """Make every section a mapping: absent and empty ones too, so that later stages need not ask."""
    _rename_typos(reading, "")
    for name in SECTION_NAMES:
        node = reading.sections.get(name)
        if node is not None and node.value is not None and not isinstance(node.value, dict):
            _misplaced_value(reading, name, node)
            node = None
        if node is None or node.value is None:
            if name in ("model", "data") and name not in reading.silent:
                reading.say(missing(name, reading.root), name)
            reading.silent.update((f"{name}.name_or_path", f"{name}.type") if name in reading.silent else ())
            place = node.key_place if node is not None else Place(0, 0, 0, "default")
            reading.sections[name] = Node({}, place, place)
    _settle_task(reading)
    _settle_method(reading)


def _misplaced_value(reading: Reading, name: str, node: Node) -> None:
    """Say what to do about `model: bert-base-uncased` and its like."""
    keys = {"model": "name_or_path", "method": "type", "data": "train_file"}
    fix = "write its keys below it, indented"
    if isinstance(node.value, str) and name in keys and node.value:
        fix = f"write {{{keys[name]}: {node.value[:60]}}}"
    reading.say(Flaw(node.place, name, f"must be keys below it, found {found(node)}", fix), name)
    if name in keys:
        reading.silent.add(f"{name}.{keys[name]}")


def _settle_task(reading: Reading) -> None:
    node = reading.sections.get("task")
    if node is not None and isinstance(node.value, str):
        near = nearest(node.value.lower(), TASK_METHODS)
        reading.task = (
            node.value if node.value in TASK_METHODS else near or TODAYS_TASK.get(node.value.lower(), "classification")
        )


def _settle_method(reading: Reading) -> None:
    """Find the type of method, or the one that was meant, so that the keys beside it can be checked too."""
    method = reading.sections["method"]
    assert isinstance(method.value, dict)
    _rename_typos(reading, "method", only="type")
    kind = method.value.get("type")
    if kind is None and not method.value:
        place = Place(0, 0, 0, "default")
        reading.method = TASK_METHODS[reading.task][0]
        method.value["type"] = Node(reading.method, place, place)
    elif kind is None:
        methods = TASK_METHODS[reading.task]
        reading.method = next(
            (name for name in methods if set(method.value) & set(METHODS[name].model_fields)), methods[0]
        )
        if "method.type" not in reading.silent:
            reading.say(missing("method.type", reading.root), "method.type")
    elif isinstance(kind.value, str) and kind.value in METHODS:
        reading.method = kind.value
    else:
        reading.method = _guess_method(reading, kind)
    if reading.method != getattr(method.value.get("type"), "value", None):
        method.value["type"] = Node(reading.method, method.place, method.key_place)


def _guess_method(reading: Reading, kind: Node) -> str:
    word = kind.value.lower() if isinstance(kind.value, str) else ""
    near = nearest(word, METHODS) if word else None
    fix = f"did you mean {near}?" if near else ""
    methods = TASK_METHODS[reading.task]
    if word in ("p_tuning", "ia3", "qlora") or (near is not None and near not in methods):
        fix = f"this version has {', '.join(methods)}"
    message = f"must be one of {', '.join(methods)}, found {found(kind)}"
    reading.say(Flaw(kind.place, "method.type", message, fix), "method.type")
    return near or methods[0]


def _rename_typos(reading: Reading, section: str, only: str | None = None) -> None:
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


def refuse_unknown_keys(reading: Reading) -> None:
    """Report the keys that no section has; what can be told to be a typo is read on under its right name."""
    for section in SECTION_NAMES:
        _rename_typos(reading, section)


def refuse_python_none(reading: Reading) -> None:
    """`revision: None` would be a revision called None: YAML's own word for nothing is null."""
    for section in SECTION_NAMES:
        below = reading.sections[section].value
        assert isinstance(below, dict)
        for key, node in list(below.items()):
            if node.plain and node.value == "None":
                dotted = f"{section}.{key}"
                fix = 'write null, or remove the key; "None" in quotes is the text'
                reading.say(Flaw(node.place, dotted, "None is a word of Python, not of YAML", fix), dotted)
                del below[key]


def fill_method_defaults(reading: Reading) -> None:
    """Fill in the defaults of task and method where the recipe says nothing."""
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
    as_text = reading.node("data.labels_as_text")
    labels_as_text = as_text is not None and as_text.value is True
    for key, value in defaults_of(reading.task, reading.method, labels_as_text=labels_as_text).items():
        section, _, name = key.partition(".")
        below = reading.sections[section].value
        assert isinstance(below, dict)
        if name not in below:
            place = Place(0, 0, 0, note_epochs if name == "num_train_epochs" else note)
            below[name] = default_node(value, place)


def default_node(value: object, place: Place) -> Node:
    """A default as a node of the tree."""
    if isinstance(value, list):
        return Node([Node(item, place, place) for item in value], place, place)
    return Node(value, place, place)  # type: ignore[arg-type]
