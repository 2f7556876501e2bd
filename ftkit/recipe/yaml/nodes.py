"""YAML 1.2 text to a tree in which every key and every value knows its line and column.

ruamel.yaml reads the text as events; the tree is built here, without recursion and without constructing any object, so
that neither a tag nor a million brackets can do harm. Scalars are resolved by the core schema of YAML 1.2: `2e-5` is a
number, `yes` and `NA` are texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ftkit.recipe.yaml.scalars import Scalar, resolve_scalar

MAX_DEPTH = 16
MAX_NODES = 20_000
_UNWRITABLE = re.compile("[\\0\\ud800-\\udfff]")
"""What escapes in double quotes can make, and no file name or column can hold."""


class Place(NamedTuple):
    """Where something was said; places sort as a reader meets them, overrides after the file.

    Attributes:
        override: number of the override on the command line, 0 for the file itself.
        line: from 1; 0 for what nobody wrote (a default).
        column: from 1.
        note: for a default, which one.
    """

    override: int
    line: int
    column: int
    note: str = ""

    def where(self, file: str) -> str:
        """`file:line:column` or `override 2`, for a problem."""
        return f"override {self.override}" if self.override else f"{file}:{self.line}:{self.column}"

    @property
    def source(self) -> str:
        """`line 4`, `override 1` or the note of a default."""
        if self.note:
            return self.note
        return f"override {self.override}" if self.override else f"line {self.line}"


class Flaw(NamedTuple):
    """Something wrong at a place: what a Problem is before the file's name is known."""

    place: Place
    key: str
    message: str
    fix: str = ""


@dataclass(slots=True)
class Node:
    """A value of the recipe.

    Attributes:
        value: a scalar, a list of nodes, or a dict of nodes by key.
        place: where the value starts (the key's place when nothing is written after the colon).
        key_place: where its key stands; `place` for what has no key.
        raw: a scalar as it is written, without quotes.
        plain: a scalar without quotes.
        broken: already reported while reading; not to be looked at again.
    """

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    key_place: Place
    raw: str = ""
    plain: bool = False
    broken: bool = False


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being filled."""

    node: Node
    path: str
    key: str | None = None
    key_place: Place | None = None


@dataclass(slots=True)
class _Builder:
    place: Callable[[int, int], Place]
    flaws: list[Flaw] = field(default_factory=list)
    stack: list[_Frame] = field(default_factory=list)
    root: Node | None = None
    num_nodes: int = 0
    num_documents: int = 0


class _Stop(Exception):
    """The rest of the text is not worth reading."""


def compose(text: str, place: Callable[[int, int], Place]) -> tuple[Node | None, list[Flaw]]:
    """Read one YAML document.

    Args:
        text: the YAML text, without a byte order mark.
        place: makes a Place of a line and a column, both from 1.

    Returns:
        The tree (None for an empty document, or when the text cannot be read to its end), and what is wrong with it.

    Example:
        >>> node, flaws = compose("lr: 2e-5", lambda line, column: Place(0, line, column))
        >>> node.value["lr"].value, node.value["lr"].place.source
        (2e-05, 'line 1')
    """
    builder = _Builder(place)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            _take(builder, event)
    except _Stop:
        return None, builder.flaws
    except MarkedYAMLError as error:
        builder.flaws.append(_syntax_flaw(error, place))
        return None, builder.flaws
    except (YAMLError, ValueError, IndexError, AssertionError, AttributeError, TypeError) as error:
        # on a few kinds of nonsense ruamel's scanner trips over itself instead of reporting
        builder.flaws.append(Flaw(place(1, 1), "", f"not valid YAML ({type(error).__name__})", "see https://yaml.org"))
        return None, builder.flaws
    return builder.root, builder.flaws


def plain_value(node: Node) -> Any:
    """The node's value without places: dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain_value(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain_value(child) for child in node.value]
    return node.value


def node_of(value: Any, place: Place) -> Node:
    """A plain value as a node, all of it at one place."""
    if isinstance(value, dict):
        return Node({str(key): node_of(child, place) for key, child in value.items()}, place, place)
    if isinstance(value, list):
        return Node([node_of(child, place) for child in value], place, place)
    return Node(value, place, place)


def _take(builder: _Builder, event: Any) -> None:
    """Add one event to the tree."""
    kind = type(event).__name__
    if kind in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
        return
    place = builder.place(event.start_mark.line + 1, event.start_mark.column + 1)
    if kind == "DocumentStartEvent":
        builder.num_documents += 1
        if builder.num_documents > 1:
            builder.flaws.append(Flaw(place, "", "a second document begins", "a recipe is one document: remove `---`"))
            raise _Stop
        return
    if kind in ("MappingEndEvent", "SequenceEndEvent"):
        builder.stack.pop()
        return
    builder.num_nodes += 1
    if builder.num_nodes > MAX_NODES or len(builder.stack) > MAX_DEPTH:
        _refuse_size(builder, place)
    frame = builder.stack[-1] if builder.stack else None
    expects_key = frame is not None and isinstance(frame.node.value, dict) and frame.key is None
    if frame is not None and expects_key:
        _take_key(builder, frame, event, place)
    else:
        _take_value(builder, frame, event, place)


def _refuse_size(builder: _Builder, place: Place) -> None:
    if builder.num_nodes > MAX_NODES:
        flaw = Flaw(place, "", f"more than {MAX_NODES} values", "this is not a recipe")
    else:
        flaw = Flaw(place, "", f"nested more than {MAX_DEPTH} deep", "a recipe needs three levels")
    builder.flaws.append(flaw)
    raise _Stop


def _take_key(builder: _Builder, frame: _Frame, event: Any, place: Place) -> None:
    if type(event).__name__ != "ScalarEvent":
        builder.flaws.append(Flaw(place, frame.path, "a key must be a word", "write key: value"))
        raise _Stop
    if event.tag:
        _refuse_tag(builder, event, place, frame.path)
    frame.key, frame.key_place = event.value, place


def _take_value(builder: _Builder, frame: _Frame | None, event: Any, place: Place) -> None:
    path = _child_path(frame)
    node = Node(None, place, place)
    if getattr(event, "tag", None):
        node.broken = True
        _refuse_tag(builder, event, place, path)
    match type(event).__name__:
        case "AliasEvent":
            fix = f'recipes have no aliases: write the value out, or quote a text: "*{event.anchor}"'
            builder.flaws.append(Flaw(place, path, f"`*{event.anchor}` is a YAML alias", fix))
            node.broken = True
        case "ScalarEvent":
            node.plain, node.raw = event.style is None, event.value
            node.value = resolve_scalar(event.value) if node.plain else event.value
            if _UNWRITABLE.search(event.value):
                node.broken = True
                builder.flaws.append(Flaw(place, path, "the text holds a NUL or half a character", "remove the escape"))
        case "MappingStartEvent":
            node.value = {}
        case _:
            node.value = []
    _attach(builder, frame, node, path)
    if isinstance(node.value, dict | list):
        builder.stack.append(_Frame(node, path))


def _attach(builder: _Builder, frame: _Frame | None, node: Node, path: str) -> None:
    if frame is None:
        builder.root = node
    elif isinstance(frame.node.value, list):
        frame.node.value.append(node)
    elif isinstance(frame.node.value, dict):
        assert frame.key is not None
        assert frame.key_place is not None
        node.key_place = frame.key_place
        if node.value is None and not node.raw:
            node.place = frame.key_place
        earlier = frame.node.value.setdefault(frame.key, node)
        if earlier is not node:
            fix = f"it stands on line {earlier.key_place.line} already; keep one of the two"
            builder.flaws.append(Flaw(frame.key_place, path, "the key is given twice", fix))
        frame.key = frame.key_place = None


def _child_path(frame: _Frame | None) -> str:
    if frame is None:
        return ""
    if isinstance(frame.node.value, list):
        return f"{frame.path}[{len(frame.node.value)}]"
    return f"{frame.path}.{frame.key}" if frame.path else str(frame.key)


def _refuse_tag(builder: _Builder, event: Any, place: Place, path: str) -> None:
    shown = str(event.tag).replace("tag:yaml.org,2002:", "!!")
    fix = "recipes have no tags and never run code; remove it, or quote the text"
    builder.flaws.append(Flaw(place, path, f"`{shown}` is a YAML tag", fix))


_SYNTAX = (
    ("\\t", "indent with spaces, not with a tab"),
    ("mapping values are not allowed", 'quote a text that holds ": ", and check the indentation of this line'),
    ("found unexpected end of stream", "close the quote"),
    ("<stream end>", "close the bracket"),
    ("unknown escape character", "in double quotes write \\\\ for a backslash, or use single quotes"),
    ("could not find expected ':'", "write key: value, with a space after the colon"),
    ("expected <block end>", "give all keys of a section the same indentation"),
    ("cannot start any token", "quote a text that begins with this character"),
)


def _syntax_flaw(error: MarkedYAMLError, place: Callable[[int, int], Place]) -> Flaw:
    mark = error.problem_mark or error.context_mark
    problem = str(error.problem or error.context or "not understood").replace("\n", " ")
    fix = next((fix for sign, fix in _SYNTAX if sign in problem), "check quotes, colons and indentation here")
    start = error.context_mark
    if start is not None and mark is not None and start.line != mark.line:
        fix += f" ({error.context}, begun on line {start.line + 1})"
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Flaw(place(line, column), "", f"not valid YAML: {problem}", fix)
