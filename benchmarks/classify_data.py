"""The texts of the classification benchmark: docstrings of this Python's standard library, classed by module.

Real text that every machine has. First two paragraphs of each docstring: a few tokens to several hundred, as texts of
users are, so that padding costs what it costs in practice.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NUM_ROWS = 4500
"""Rows of the full benchmark. Its modules serve smaller ones too, so that those have as many labels."""
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"}


class Files(NamedTuple):
    """Where the rows lie and how many labels they have."""

    train: Path
    validation: Path
    num_labels: int


def write_rows(folder: Path, *, num_train: int, num_validation: int) -> Files:
    """Write train.csv and validation.csv, of the largest modules that fill the full benchmark.

    Rows are ordered by a hash of their text, so that a smaller benchmark is a random part of a larger one.

    Raises:
        SystemExit: this Python has too few docstrings.
    """
    module_of = {text: module for module, text in _docstrings()}
    wanted = num_train + num_validation
    if len(module_of) < wanted:
        raise SystemExit(f"this Python's standard library has {len(module_of)} docstrings, fewer than {wanted} rows")
    modules: set[str] = set()
    num_rows = 0
    for module, count in Counter(module_of.values()).most_common():
        modules.add(module)
        num_rows += count
        if num_rows >= max(wanted, NUM_ROWS):
            break
    rows = [(text, module) for text, module in module_of.items() if module in modules]
    rows.sort(key=lambda row: hashlib.sha256(row[0].encode()).digest())
    validation, train = rows[:num_validation], rows[num_validation:wanted]
    # a module whose rows all went to validation could not be learned
    known = {module for _, module in train}
    validation = [row for row in validation if row[1] in known]
    return Files(_write(folder / "train.csv", train), _write(folder / "validation.csv", validation), len(known))


def read_rows(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def _docstrings() -> Iterator[tuple[str, str]]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if LEFT_OUT.intersection(parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node) or ""
                if text := " ".join(" ".join(docstring.split("\n\n")[:2]).split()):
                    yield parts[0].removesuffix(".py").lstrip("_"), text


def _write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    return path
