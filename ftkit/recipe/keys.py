"""The keys that recipes may have, and which of them was meant by one they may not have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rapidfuzz.distance import OSA

from ftkit.methods.table import METHODS
from ftkit.recipe.nearest import nearest
from ftkit.recipe.task_rules import TaskRules, Tasks, sections_of
from ftkit.recipe.vocabulary import TODAYS_SECTION, WORDS, Today


class Answer(NamedTuple):
    """What to say about an unknown key.

    Attributes:
        message: what is wrong.
        fix: what to do.
        meant: dotted path of the key that was probably meant, empty when there is no telling.
    """

    message: str
    fix: str
    meant: str = ""


def keys_of(section: str, method: str, tasks: Tasks) -> list[str]:
    """The keys of a section that any task has (empty name: the sections themselves)."""
    if section == "":
        return ["task", *sections_of(tasks)]
    having = [found[section] for task in tasks.values() if section in (found := task.classes(method))]
    return list(dict.fromkeys(key for one in having for key in one.model_fields))


def all_keys(tasks: Tasks) -> dict[str, list[str]]:
    """Last word of every key -> its dotted paths, over all tasks, sections and methods."""
    found: dict[str, list[str]] = {}
    for path in dict.fromkeys(_paths(tasks)):
        found.setdefault(path.rpartition(".")[2], []).append(path)
    return found


def _paths(tasks: Tasks) -> Iterator[str]:
    for section in sections_of(tasks):
        if section != "method":
            yield from (f"{section}.{key}" for key in keys_of(section, next(iter(METHODS)), tasks))
    yield from (f"method.{key}" for section in METHODS.values() for key in section.model_fields)


def todays(word: str, tasks: Tasks) -> Today | None:
    """What a foreign or old key is called here; `section.key` asks for what it means in one section only."""
    for key, words, *note in (*WORDS, *(row for task in tasks.values() for row in task.words)):
        if word in words.split():
            return Today(key, *note)
    return None


def answer_unknown(
    section: str, key: str, *, method: str, task: TaskRules[Any], tasks: Tasks, taken: Iterable[str] = ()
) -> Answer:
    """Say which key was meant by an unknown one.

    Args:
        section: where it stands, empty for the top level.
        key: the unknown key.
        method: the recipe's method.type.
        task: the recipe's.
        tasks: all there are.
        taken: keys of the section that the recipe has already; they are the second choice.
    """
    here = keys_of(section, method, tasks)
    word = _snake(key)
    prefix = f"{section}." if section else ""
    near = nearest(word, here, second_choice=taken)
    if near is not None and (word == near or (len(word) > 3 and OSA.distance(word, near) <= 1)):
        return Answer("no such key", f"did you mean {near}?", prefix + near)
    if today := todays(f"{section}.{word}", tasks):
        return _today(section, today)
    everywhere = all_keys(tasks)
    if paths := everywhere.get(word.rpartition(".")[2]):
        return _moved(section, paths[0], word, method)
    if section == "" and word in TODAYS_SECTION:
        return Answer("no such section", f"it is called {TODAYS_SECTION[word]} here", TODAYS_SECTION[word])
    if today := todays(word, tasks):
        return _today(section, today)
    if near is not None:
        return Answer("no such key", f"did you mean {near}?", prefix + near)
    if len(word) > 3 and (far := nearest(word, everywhere)) is not None:
        return Answer("no such key", f"did you mean {everywhere[far][0]}?", everywhere[far][0])
    own = task.fields(method).get(section, here)
    return Answer("no such key", f"keys here: {', '.join(own)}")


def _snake(key: str) -> str:
    """`learningRate`, `learning-rate` and `Learning Rate` as learning_rate."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.strip())
    return re.sub(r"[\s\-_]+", "_", spaced).lower()


def _moved(section: str, path: str, word: str, method: str) -> Answer:
    there = path.rpartition(".")[0]
    if there == "method" and word.rpartition(".")[2] not in METHODS[method].model_fields:
        owners = [name for name, model in METHODS.items() if path.rpartition(".")[2] in model.model_fields]
        fix = f"it belongs to method.type: {' or '.join(owners)}; this recipe's method.type is {method}"
        return Answer(f"not a key of method {method}" if section == "method" else "not a key here", fix, path)
    return Answer("not a key of " + (section or "the top level"), f"it belongs in {there}: {path}", path)


def _today(section: str, today: Today) -> Answer:
    if not today.key:
        return Answer("no such key here", today.note)
    there, _, name = today.key.rpartition(".")
    fix = f"it is called {name if there == section else today.key} here"
    return Answer("an older or foreign spelling", f"{fix} ({today.note})" if today.note else fix, today.key)
