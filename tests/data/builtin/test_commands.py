from __future__ import annotations

import hashlib
import re
from collections import Counter

import pytest

from ftkit.data.builtin.builtin import load_builtin
from ftkit.data.builtin.commands import (
    BASE_CONVENTIONS,
    COMMAND_WORDS,
    MAX_ACTIONS,
    NEW,
    NUM_BASE,
    NUM_NEW,
    command_rows,
    new_convention_rows,
)

GERMAN = {"wait": "WARTEN", "sound the horn": "HUPE", "swing left": "LINKS", "raise the hook": "HOCH"}
"""Steps of one action, as a reader of the words would put them."""


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, ...]]:
    return [tuple(row) for row in command_rows()]


@pytest.mark.slow
def test_the_rows_are_the_same_on_every_machine(rows: list[tuple[str, ...]]) -> None:
    texts = "\n".join("\t".join(row) for row in [*rows, *new_convention_rows()])
    assert hashlib.sha256(texts.encode()).hexdigest() == (
        "74e8fc3d4272c60096d57585e7855f2f64fe992965594df61a9bfc2e62f9cc71"
    )


def test_a_command_asks_for_what_its_words_say(rows: list[tuple[str, ...]]) -> None:
    checked = 0
    for source, target, command in rows:
        if not source.startswith("german: "):
            continue
        begins = re.match(f"(?:first )?({'|'.join(GERMAN)})( twice| three times)?(,|$)", command)
        if begins is not None:
            times = {None: 1, " twice": 2, " three times": 3}[begins[2]]
            assert target.split()[:times] == [GERMAN[begins[1]]] * times
            checked += 1
    assert checked > 50


def test_steps_are_done_one_after_the_other_in_the_language_of_the_prefix(rows: list[tuple[str, ...]]) -> None:
    alone = {
        (source.split(": ")[0], command): target
        for source, target, command in rows
        if not command.startswith("first ") and "numbered" not in source
    }
    checked = 0
    for source, target, command in rows:
        language = source.split(": ")[0]
        steps = command.removeprefix("first ").replace(", finally ", ", then ").split(", then ")
        parts = [alone.get((language, step)) for step in steps]
        if len(steps) > 1 and None not in parts:
            assert target == " ".join(part for part in parts if part is not None)
            checked += 1
    assert checked > 50


def test_numbers_are_all_that_a_numbered_convention_adds(rows: list[tuple[str, ...]]) -> None:
    for source, target, command in rows:
        words = target.split()
        numbers = [word for word in words if word.isdigit()]
        steps = 1 + command.count(", then ") + command.count(", finally ")
        assert len(words) - len(numbers) <= MAX_ACTIONS
        assert numbers == ([str(step + 1) for step in range(steps)] if "numbered" in source.split(": ")[0] else [])


def test_every_base_convention_has_as_many_rows_and_the_new_one_none(rows: list[tuple[str, ...]]) -> None:
    counted = Counter(source.split(": ")[0] + ": " for source, _, _ in rows)
    assert counted == dict.fromkeys(
        [convention.prefix for convention in BASE_CONVENTIONS], NUM_BASE // len(BASE_CONVENTIONS)
    )
    assert NEW.prefix not in counted
    assert {convention.language for convention in BASE_CONVENTIONS} == set(COMMAND_WORDS)


def test_no_command_is_in_two_splits_or_in_both_sets() -> None:
    base, new = load_builtin("commands"), load_builtin("commands-new")
    parts = [set(base[split]["command"].to_pylist()) for split in base]
    parts += [set(new[split]["source"].to_pylist()) for split in new]
    assert sum(map(len, parts)) == len(set.union(*parts)) == NUM_BASE + NUM_NEW
    assert all(parts)
