"""The keys a recipe may have, and which of them was meant by one it may not have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from pydantic.fields import FieldInfo
from rapidfuzz.distance import OSA

from ftkit.methods.frozen import FrozenMethod
from ftkit.methods.full import FullMethod
from ftkit.methods.lora import LoraMethod
from ftkit.methods.prefix_tuning import PrefixTuningMethod
from ftkit.methods.prompt_tuning import PromptTuningMethod
from ftkit.methods.section import Section
from ftkit.recipe.schema import DataSpec, EvaluationSpec, GenerationSpec, ModelSpec, Recipe, TrainingSpec
from ftkit.recipe.today import Today
from ftkit.recipe.vocabulary import HERE, TODAY, TODAYS_SECTION

METHODS: dict[str, type[Section]] = {
    "frozen": FrozenMethod,
    "full": FullMethod,
    "lora": LoraMethod,
    "prompt_tuning": PromptTuningMethod,
    "prefix_tuning": PrefixTuningMethod,
}
SECTIONS: dict[str, type[Section]] = {
    "model": ModelSpec,
    "data": DataSpec,
    "training": TrainingSpec,
    "evaluation": EvaluationSpec,
    "generation": GenerationSpec,
}


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


def fields_of(section: str, method: str) -> dict[str, FieldInfo]:
    """The fields of a section (empty name: the recipe itself); those of `method` depend on its type."""
    if section == "":
        return Recipe.model_fields
    return (METHODS[method] if section == "method" else SECTIONS[section]).model_fields


def field_at(dotted: str, method: str) -> FieldInfo | None:
    """The field behind a dotted key, or None."""
    section, _, key = dotted.rpartition(".")
    if section not in ("", "method", *SECTIONS):
        return None
    return fields_of(section, method).get(key)


def all_keys() -> dict[str, list[str]]:
    """Last word of every key -> its dotted paths, over all sections and methods."""
    found: dict[str, list[str]] = {}
    for section, model in [*SECTIONS.items(), *(("method", model) for model in METHODS.values())]:
        for key in model.model_fields:
            paths = found.setdefault(key, [])
            if f"{section}.{key}" not in paths:
                paths.append(f"{section}.{key}")
    return found


def answer_unknown(section: str, key: str, *, method: str, taken: Iterable[str] = ()) -> Answer:
    """Say which key was meant by an unknown one.

    Args:
        section: where it stands, empty for the top level.
        key: the unknown key.
        method: the recipe's method.type.
        taken: keys of the section that the recipe has already; they are the second choice.

    Example:
        >>> answer_unknown("training", "learning_rat", method="full").fix
        'did you mean learning_rate?'
        >>> answer_unknown("training", "lr", method="full").meant
        'training.learning_rate'
    """
    here = list(fields_of(section, method))
    word = _snake(key)
    prefix = f"{section}." if section else ""
    near = nearest(word, here, second_choice=taken)
    if near is not None and (word == near or (len(word) > 3 and OSA.distance(word, near) <= 1)):
        return Answer("no such key", f"did you mean {near}?", prefix + near)
    if (section, word) in HERE:
        return _today(section, HERE[section, word])
    if paths := all_keys().get(word.rpartition(".")[2]):
        return _moved(section, paths[0], word, method)
    if section == "" and word in TODAYS_SECTION:
        return Answer("no such section", f"it is called {TODAYS_SECTION[word]} here", TODAYS_SECTION[word])
    if word in TODAY:
        return _today(section, TODAY[word])
    if near is not None:
        return Answer("no such key", f"did you mean {near}?", prefix + near)
    everywhere = all_keys()
    if len(word) > 3 and (far := nearest(word, everywhere)) is not None:
        return Answer("no such key", f"did you mean {everywhere[far][0]}?", everywhere[far][0])
    return Answer("no such key", f"keys here: {', '.join(here)}")


def nearest(word: str, candidates: Iterable[str], *, second_choice: Iterable[str] = ()) -> str | None:
    """The candidate that is few edits away from `word` (a third of its length at most), or None.

    Edits are insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
    """
    later = set(second_choice)
    allowed = max(1, len(word) // 3)
    scored = [(OSA.distance(word, name), name in later, _unlikeness(word, name), name) for name in candidates]
    best = min(scored, default=None)
    return best[-1] if best is not None and best[0] <= allowed else None


def _unlikeness(word: str, name: str) -> int:
    """Of equally near names the one that begins alike wins."""
    return 0 if word[:2] == name[:2] else 1


def _snake(key: str) -> str:
    """`learningRate`, `learning-rate` and `Learning Rate` as learning_rate."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.strip())
    return re.sub(r"[\s\-_]+", "_", spaced).lower()


def _moved(section: str, path: str, word: str, method: str) -> Answer:
    there = path.rpartition(".")[0]
    if there == "method" and word.rpartition(".")[2] not in fields_of("method", method):
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
