"""Texts in the sources of Python's standard library, read with `ast`; nothing is imported or run."""

from __future__ import annotations

import ast
import functools
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ftkit.data.duplicates import normalise
from ftkit.errors import UserError

_LEFT_OUT = frozenset(
    ("test", "tests", "idle_test", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo", "ensurepip",
     "pydoc_data", "__pycache__", "__phello__")
)  # fmt: skip
"""Tests, foreign packages, applications and generated data: folders whose docstrings say little about Python."""
_NUM_MODULES = 12
_SHORTEST = 10
_FIRST_SENTENCE = re.compile(r"(.+?[.!?])(\s|$)")
_UNDERLINE = re.compile(r"^([*=\-~\"^])\1{2,}$")


class _Function(NamedTuple):
    module: str
    signature: str
    sentence: str


def docstring_rows() -> list[tuple[str, ...]]:
    """(first sentence, top-level module) of the functions of the 12 modules with the most of them.

    A sentence that occurs in two modules is left out, since nothing in it tells them apart; so are repetitions and
    sentences under ten characters. Neither the function's name nor its path is in the text.
    """
    modules: dict[str, set[str]] = {}
    first: dict[str, tuple[str, str]] = {}
    for function in _functions(_stdlib()):
        form, top = normalise(function.sentence), function.module.split(".")[0]
        modules.setdefault(form, set()).add(top)
        first.setdefault(form, (function.sentence, top))
    rows = [row for form, row in first.items() if len(modules[form]) == 1]
    counts = Counter(module for _, module in rows)
    largest = sorted(counts, key=lambda module: (-counts[module], module))[:_NUM_MODULES]
    return [row for row in rows if row[1] in largest]


def signature_rows() -> list[tuple[str, ...]]:
    """(`module.name(arguments)`, first sentence of the docstring), each pair once."""
    pairs = {(normalise(f.signature), normalise(f.sentence)): (f.signature, f.sentence) for f in _functions(_stdlib())}
    return list(pairs.values())


def pydoc_rows() -> list[tuple[str, ...]]:
    """(section,) of the language reference in `pydoc_data.topics`.

    Topics quote one another at length, so a paragraph is kept where it stands first only: splits made of whole
    sections then share none.
    """
    sections: list[list[str]] = []
    known: set[str] = set()
    for _, topic in sorted(_topics().items()):
        sections.append([])
        for paragraph in topic.strip().split("\n\n"):
            paragraph = paragraph.strip("\n")
            lines = paragraph.split("\n")
            if len(lines) > 1 and _UNDERLINE.match(lines[1]):
                sections.append([])
            elif normalise(paragraph) in known:
                continue
            known.add(normalise(paragraph))
            sections[-1].append(paragraph)
    texts = ["\n\n".join(section) for section in sections]
    # what is left of a quoted section may be its heading alone
    return [(text,) for text in dict.fromkeys(texts) if len(text.split()) >= 20]


@functools.cache
def _functions(root: Path) -> list[_Function]:
    """Of every module below `root`; parsed once in a process, since two data sets are made of them."""
    functions: list[_Function] = []
    for path, module in _sources(root):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            # templates and files for another Python may lie among the sources
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (sentence := _first_sentence(node)):
                arguments = ast.unparse(node.args)
                functions.append(_Function(module, f"{module}.{node.name}({arguments})", sentence))
    return functions


def _first_sentence(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    paragraph = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    match = _FIRST_SENTENCE.match(paragraph)
    sentence = match[1] if match else paragraph
    return sentence if len(sentence) >= _SHORTEST and sentence.isprintable() else None


def _sources(root: Path) -> Iterator[tuple[Path, str]]:
    """Paths and dotted module names, sorted, so that the order does not depend on the file system."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in _LEFT_OUT and not name.startswith("config-"))
        for name in sorted(files):
            # _sysconfigdata... and the like are written by the build and differ between machines
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                path = Path(folder, name)
                parts = path.relative_to(root).with_suffix("").parts
                yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _stdlib() -> Path:
    root = Path(sysconfig.get_paths()["stdlib"])
    if not (root / "argparse.py").is_file():
        raise UserError(
            "this Python came without the sources of its standard library, from which builtin data is made",
            where=str(root),
            fix="use a Python from python.org, uv, conda or your distribution's full package; or data of your own",
        )
    return root


def _topics() -> dict[str, str]:
    path = _stdlib() / "pydoc_data" / "topics.py"
    if not path.is_file():
        raise UserError("the topics of the Python reference are missing", where=str(path), fix="install pydoc's data")
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(node.value)
            return topics
    raise UserError("the topics of the Python reference are not a dictionary", where=str(path))
