"""English of Python's own sources: the reference manual and docstrings for pretraining, packages to be told apart."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

TUNING_PAIRS = (("idlelib", "distutils"), ("unittest", "idlelib"), ("distutils", "unittest"), ("asyncio", "unittest"))
LOCKED_PAIRS = (("email", "tkinter"), ("importlib", "email"), ("xml", "tkinter"), ("lib2to3", "email"))
"""Packages whose prose the classifiers of each set tell apart; no package is in both sets."""
_COMMENT = re.compile(r"^\s*#+ (\S.*)$")
_SHORTEST, _LONGEST = 30, 90


@functools.cache
def pretraining_paragraphs() -> tuple[list[str], list[str]]:
    """(paragraphs to pretrain on, paragraphs kept back): the reference manual and first sentences of docstrings.

    A tenth is kept back, by a hash of the text, to measure what a finetuned model has forgotten.
    """
    from ftkit.data.builtin.builtin import load_builtin

    sections = [text for table in load_builtin("pydoc").values() for text in table.column("text").to_pylist()]
    firsts = [text for table in load_builtin("signatures").values() for text in table.column("target").to_pylist()]
    found = dict.fromkeys([*(block.strip() for section in sections for block in section.split("\n\n")), *firsts])
    texts = [" ".join(text.split())[:400] for text in found if len(text) >= _SHORTEST and " " in text]
    back = [text for text in texts if _hash(text) % 10 == 0]
    return [text for text in texts if _hash(text) % 10], back


@functools.cache
def prose_of(package: str) -> tuple[str, ...]:
    """Comments of a package and paragraphs of its docstrings, cut, each once, in an order that looks like chance.

    Args:
        package: a folder of the standard library.
    """
    found: dict[str, None] = {}
    for path in sorted((Path(sysconfig.get_path("stdlib")) / package).rglob("*.py")):
        source = path.read_text(encoding="utf-8", errors="ignore")
        for text in (*_comments(source), *_docstrings(source)):
            if _is_prose(text):
                found[text[:_LONGEST].strip()] = None
    return tuple(sorted(found, key=_hash))


def _comments(source: str) -> Iterator[str]:
    """Comments that stand in lines of their own, lines in a row joined."""
    block: list[str] = []
    for line in [*source.splitlines(), ""]:
        if match := _COMMENT.match(line):
            block.append(match[1].strip())
            continue
        yield " ".join(block)
        block = []


def _docstrings(source: str) -> Iterator[str]:
    """Paragraphs of the docstrings; of a file that this Python cannot read, none."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        # such as the broken files that a package's own tests are made of
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                yield " ".join(paragraph.split())


def _is_prose(text: str) -> bool:
    letters = sum(char.isalpha() or char == " " for char in text)
    return len(text) >= _SHORTEST and text.count(" ") >= 4 and letters > 0.85 * len(text) and text.isascii()


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
