"""The rule of imports: down only, sideways only where a line here says why."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import ftkit

PACKAGE = Path(ftkit.__file__).parent

FLOORS = (
    ("errors", "version", "notebook"),
    ("progress", "interruption"),
    ("unfinished", "disk"),
    ("storage",),
    ("cache", "copies"),
    ("metrics",),
    ("methods",),
    ("runs",),
    ("recipe",),
    ("diagnosis",),
    ("models",),
    ("data",),
    ("inputs",),
    ("decoding",),
    ("training",),
    ("encoders",),
    ("evaluation",),
    ("report",),
    ("tasks",),
    ("commands",),
    ("cli",),
)
"""The house from the ground up: each room imports from the floors below it alone."""
LEVEL_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

SIDEWAYS: dict[tuple[str, str], str] = {}
"""(room, room of the same or of a higher floor) -> why it is imported all the same."""
LIGHT = {
    "errors",
    "version",
    "progress",
    "interruption",
    "recipe",
    "methods",
    "runs",
    "storage",
    "disk",
    "unfinished",
    "cache",
    "cli",
}
LIGHT_COMMANDS = {"train.py", "check.py", "doctor.py", "schema.py"}
"""What `ftkit --help`, `check --no-data` and a wrong recipe go through: nothing heavy comes with it."""

HEAVY = {"torch", "transformers", "datasets", "peft", "accelerate", "evaluate", "sklearn", "pandas", "numpy", "pyarrow"}


class Import(NamedTuple):
    """One module named by an import statement; `at_import` when it is loaded with the module that names it."""

    file: Path
    line: int
    module: str
    at_import: bool


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> Iterator[Import]:
    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, name.name, at_import) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} relative import"
            for name in node.names:
                inner = node.module == "ftkit" and name.name != "__version__"
                yield Import(path, node.lineno, f"ftkit.{name.name}" if inner else str(node.module), at_import)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (found for child in node.body for found in visit(child, False))
            yield from (found for child in node.orelse for found in visit(child, at_import))
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from (
                found for child in ast.iter_child_nodes(node) for found in visit(child, at_import and not inside)
            )

    return visit(tree_of(path), True)


@cache
def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def home_of(path: Path) -> str:
    """The room that a file belongs to; empty for ftkit/__init__.py and ftkit/__main__.py."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first.startswith("__") else first


@cache
def all_imports() -> list[Import]:
    found = [entry for path in modules() for entry in imports_of(path)]
    assert len(found) > 300, "the reader of imports has gone blind"
    return found


def places(entries: list[Import]) -> list[str]:
    return [f"{entry.file.relative_to(PACKAGE)}:{entry.line} imports {entry.module}" for entry in entries]


def test_every_module_belongs_to_a_room_with_a_level():
    assert {home_of(path) for path in modules()} - {""} <= set(LEVEL_OF)


def test_imports_point_down_and_sideways_only_where_it_is_written_why():
    wrong = []
    for entry in all_imports():
        home, other = home_of(entry.file), room_of(entry.module)
        if not entry.module.startswith("ftkit.") or not home or other == home or (home, other) in SIDEWAYS:
            continue
        if LEVEL_OF[other] >= LEVEL_OF[home]:
            wrong.append(entry)
    assert places(wrong) == []


def test_the_light_rooms_import_nothing_heavy_until_a_function_needs_it():
    outside = [
        entry
        for entry in all_imports()
        if (home_of(entry.file) in LIGHT or (home_of(entry.file) == "commands" and entry.file.name in LIGHT_COMMANDS))
        and entry.at_import
        and entry.module.split(".")[0] in HEAVY
    ]
    assert places(outside) == []


@pytest.mark.parametrize(
    "room", ["recipe", "runs", "storage", "disk", "diagnosis", "errors", "interruption", "progress"]
)
def test_the_lower_floors_import_torch_and_its_company_with_no_module(room):
    company = {"torch", "transformers", "datasets", "peft", "accelerate"}
    entries = [
        e for e in all_imports() if e.at_import and home_of(e.file) == room and e.module.split(".")[0] in company
    ]
    assert places(entries) == []


def test_only_the_command_line_imports_typer():
    entries = [entry for entry in all_imports() if entry.module.split(".")[0] in {"typer", "click"}]
    assert entries, "somebody must"
    assert places([entry for entry in entries if home_of(entry.file) != "cli"]) == []


def test_nothing_below_the_command_line_prints_or_exits():
    wrong = []
    for path in modules():
        if home_of(path) == "cli" or path.name == "__main__.py":
            continue
        for node in ast.walk(tree_of(path)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            raised = ast.unparse(node.exc) if isinstance(node, ast.Raise) and node.exc else ""
            if called in {"print", "input", "exit", "quit", "sys.exit", "os._exit", "pprint"} or "SystemExit" in raised:
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
            if called in {"sys.stdout.write", "sys.stderr.write"}:
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert wrong == []


def uses_of(tree: ast.AST, name: str) -> list[int]:
    """Lines where a name is used for more than an annotation or an import."""
    annotations: set[ast.AST] = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if isinstance(written := getattr(node, field, None), ast.AST):
                annotations |= set(ast.walk(written))
    return [
        node.lineno
        for node in ast.walk(tree)
        if node not in annotations
        and (
            (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name)
        )
    ]


def test_only_one_file_makes_training_arguments():
    users = {path.relative_to(PACKAGE).as_posix() for path in modules() if uses_of(tree_of(path), "TrainingArguments")}
    assert users == {"training/arguments.py"}


def test_no_file_is_a_drawer_for_everything():
    drawers = {"utils", "util", "helpers", "common", "misc", "tools", "lib"}
    assert [path.name for path in modules() if path.stem in drawers or path.parent.name in drawers] == []


def test_every_sideways_import_that_is_allowed_is_one():
    used = {(home_of(entry.file), room_of(entry.module)) for entry in all_imports()}
    assert all(LEVEL_OF[home] <= LEVEL_OF[other] and (home, other) in used for home, other in SIDEWAYS)


def test_no_folder_is_crowded():
    counted = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert {str(folder.relative_to(PACKAGE)): count for folder, count in counted.items() if count > 16} == {}


def named_at_the_top(path: Path) -> Iterator[tuple[str, str]]:
    """Classes and constants of a file with what they are made of, as text."""
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, ast.unparse(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id != target.id.lower():
                    yield target.id, ast.unparse(node.value)


def test_a_constant_or_a_class_has_one_home():
    homes: dict[str, list[tuple[Path, str]]] = {}
    for path in modules():
        for name, content in named_at_the_top(path):
            homes.setdefault(name, []).append((path, content))
    several = {name: found for name, found in homes.items() if len(found) > 1}
    wrong = {}
    for name, found in several.items():
        differ = len({content for _, content in found}) == len(found)
        # what only its file sees may be called as in another, unless it is the same; and so may the answers of tasks
        of_tasks = {(path.parent.parent.name, path.name) for path, _ in found}
        of_each_task = len(of_tasks) == 1 and next(iter(of_tasks))[0] == "tasks"
        if not (differ and (name.startswith("_") or of_each_task)):
            wrong[name] = [str(path.relative_to(PACKAGE)) for path, _ in found]
    assert wrong == {}
