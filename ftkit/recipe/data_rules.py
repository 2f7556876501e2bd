"""Rules of the `data` section that every task shares."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence

from ftkit.methods.section import Finding
from ftkit.recipe.nearest import nearest
from ftkit.recipe.schema import Recipe
from ftkit.recipe.task_rules import Facts

LABELLED_DATA = ("docstrings",)
"""Built-in data sets that have labels."""
PAIRED_DATA = ("signatures", "commands", "commands-new")
"""Built-in data sets of a source and its target."""
BUILTIN_NAMES = (*LABELLED_DATA, *PAIRED_DATA, "pydoc")
"""Every built-in data set."""


def _data_source(facts: Facts[Recipe]) -> Iterator[Finding]:
    file, name = facts.has("data.train_file"), facts.has("data.dataset_name")
    if not file and not name:
        yield Finding("data", "no training examples are named", "add train_file, or dataset_name")
    if file and name:
        yield Finding("data.dataset_name", "train_file is given as well", "keep one of the two")
    if name and not file:
        for key in ("data.validation_file", "data.test_file"):
            if facts.has(key):
                fix = (
                    "a data set brings its own splits: name them by validation_split and test_split, or use train_file"
                )
                yield Finding(key, "files do not mix with dataset_name", fix)
    if file and not name:
        for key in ("data.dataset_config_name", "data.validation_split", "data.test_split", "data.train_split"):
            if facts.changed(key):
                yield Finding(key, "only a dataset_name has it", "remove it")


def _splits(facts: Facts[Recipe]) -> Iterator[Finding]:
    data = facts.recipe.data
    if data.validation_size >= 1 and not data.validation_size.is_integer():
        fix = f"write {data.validation_size:.0f}; a share is below 1"
        yield Finding("data.validation_size", f"{data.validation_size:g} is not a whole number of rows", fix)
    for key in ("data.validation_file", "data.validation_split"):
        if facts.has(key) and facts.changed("data.validation_size"):
            yield Finding("data.validation_size", f"nothing is split off: {key} is given", "keep one of the two")
    splits = (data.train_split, data.validation_split, data.test_split)
    for key, split, others in (
        ("data.validation_split", data.validation_split, splits[:1]),
        ("data.test_split", data.test_split, splits[:2]),
    ):
        if split is not None and split in others:
            yield Finding(key, f"{split!r} is another split already", "measure on rows that were not trained on")


def builtin_data(facts: Facts[Recipe], fitting: Sequence[str], what: str) -> Iterator[Finding]:
    """A built-in data set is one of those that fit, by what a task wants of it in words."""
    name = facts.recipe.data.dataset_name or ""
    if not name.startswith("builtin:"):
        return
    word = name.removeprefix("builtin:")
    listed = ", ".join(f"builtin:{known}" for known in fitting)
    if word in BUILTIN_NAMES and word not in fitting:
        labels = "; data.labels_as_text: true would learn its labels" if word in LABELLED_DATA else ""
        yield Finding("data.dataset_name", f"{name} has no {what}", f"with {what}: {listed}{labels}")
    elif word not in fitting:
        near = nearest(word, fitting)
        fix = f"did you mean builtin:{near}?" if near else f"there is {listed}"
        yield Finding("data.dataset_name", f"no built-in data set is called {word!r}", fix)
    for key in ("data.dataset_config_name", "data.encoding", "data.delimiter"):
        if facts.changed(key):
            yield Finding(key, "a built-in data set has none", "remove it")


def _text_format(facts: Facts[Recipe]) -> Iterator[Finding]:
    data = facts.recipe.data
    try:
        codecs.lookup(data.encoding)
    except (LookupError, ValueError):
        fix = "common ones: utf-8, utf-16, cp1252, latin-1"
        yield Finding("data.encoding", f"Python knows no encoding {data.encoding!r}", fix)
    if data.delimiter is not None and data.delimiter in "\r\n\"' ":
        yield Finding("data.delimiter", f"{data.delimiter!r} cannot separate fields", 'for example ";", or "\\t"')


DATA_RULES: tuple[Callable[[Facts[Recipe]], Iterator[Finding]], ...] = (
    _data_source,
    _splits,
    _text_format,
)
