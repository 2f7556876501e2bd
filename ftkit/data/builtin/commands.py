"""Commands for a harbour crane and the actions that they ask for: a small language made by rules, with no file.

Each command is translated under a convention: in which language the actions are named, and whether its steps are
numbered. The base set mixes all conventions but one and names them in the source, as T5 was taught its
tasks; the set of the remaining one does not name it, so a model has to learn what is meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

NUM_BASE, NUM_NEW = 16_800, 2_000
"""Rows of the base set (equally many of each convention) and of the new convention; no command is in both."""
MAX_ACTIONS = 12
"""Longer commands are left out."""

COMMAND_WORDS = {
    "english": "AHEAD BACK LEFT RIGHT UP DOWN GRAB DROP WAIT HORN CRATE BARREL BAG PIPE",
    "german": "VOR ZURÜCK LINKS RECHTS HOCH RUNTER GREIFEN LÖSEN WARTEN HUPE KISTE FASS BEUTEL ROHR",
    "french": "AVANT ARRIÈRE GAUCHE DROITE HAUT BAS PRENDRE LÂCHER ATTENDRE KLAXON CAISSE TONNEAU SAC TUYAU",
    "spanish": "ADELANTE ATRÁS IZQUIERDA DERECHA ARRIBA ABAJO TOMAR SOLTAR ESPERAR BOCINA CAJA BARRIL BOLSA TUBO",
}
"""Language -> its words for the same fourteen actions and loads, in the same order."""

_MOVES = {
    "roll forward": "AHEAD",
    "roll back": "BACK",
    "swing left": "LEFT",
    "swing right": "RIGHT",
    "raise the hook": "UP",
    "lower the hook": "DOWN",
    "wait": "WAIT",
    "sound the horn": "HORN",
}
_WAYS = {"front": "AHEAD BACK", "back": "BACK AHEAD", "left": "LEFT RIGHT", "right": "RIGHT LEFT"}
"""Side -> the action that goes there and the one that comes back."""
_LOADS = ("crate", "barrel", "bag", "pipe")
_COUNTS = {"": 1, " twice": 2, " three times": 3}


class Convention(NamedTuple):
    """How actions are written down: in a language of COMMAND_WORDS, and whether each step starts with its number."""

    language: str
    numbered: bool

    @property
    def prefix(self) -> str:
        """What names it at the start of a source: `german: `, or `german numbered: `."""
        return f"{self.language}{' numbered' if self.numbered else ''}: "


class Command(NamedTuple):
    """A command, and for each of its steps the actions that it asks for, as English words."""

    text: str
    steps: tuple[tuple[str, ...], ...]


NEW = Convention("german", numbered=True)
"""The convention that the base set lacks; others are numbered, and others are German."""
BASE_CONVENTIONS = tuple(
    convention
    for numbered in (False, True)
    for language in COMMAND_WORDS
    if (convention := Convention(language, numbered)) != NEW
)


def command_rows() -> list[tuple[str, ...]]:
    """(source, target, command): the mixture of the base conventions, each named at the start of its source."""
    rows: list[tuple[str, ...]] = []
    for number, command in enumerate(islice(_commands(), NUM_BASE)):
        convention = BASE_CONVENTIONS[number % len(BASE_CONVENTIONS)]
        rows.append((convention.prefix + command.text, translate(command, convention), command.text))
    return rows


def new_convention_rows() -> list[tuple[str, ...]]:
    """(source, target): other commands under the convention that the base set lacks, which nothing names."""
    commands = islice(_commands(), NUM_BASE, NUM_BASE + NUM_NEW)
    return [(command.text, translate(command, NEW)) for command in commands]


def translate(command: Command, convention: Convention) -> str:
    """The actions of a command as a convention writes them.

    Example:
        >>> translate(Command("wait, then swing left twice", (("WAIT",), ("LEFT", "LEFT"))), NEW)
        '1 WARTEN 2 LINKS LINKS'
    """
    words = dict(zip(COMMAND_WORDS["english"].split(), COMMAND_WORDS[convention.language].split(), strict=True))
    steps = [" ".join(words[action] for action in step) for step in command.steps]
    return " ".join(f"{number} {step}" if convention.numbered else step for number, step in enumerate(steps, start=1))


def _steps() -> list[tuple[str, tuple[str, ...]]]:
    """Everything that one step can be, without its count, and what it asks for."""
    steps: list[tuple[str, tuple[str, ...]]] = [(text, (action,)) for text, action in _MOVES.items()]
    for load in _LOADS:
        steps.append((f"lift the {load}", ("DOWN", "GRAB", load.upper(), "UP")))
        steps.append((f"put down the {load}", ("DOWN", "DROP", load.upper(), "UP")))
        for side, way in _WAYS.items():
            there, back = way.split()
            steps.append((f"carry the {load} to the {side}", ("GRAB", load.upper(), there, "DROP")))
            steps.append((f"fetch the {load} from the {side}", (there, "GRAB", load.upper(), back)))
    return steps


def _commands() -> Iterator[Command]:
    """Different commands without end, in an order that looks like chance and is the same everywhere."""
    steps, known = _steps(), set()
    for number in count():
        command = _compose(steps, hashlib.sha256(f"ftkit command {number}".encode()).digest())
        if sum(map(len, command.steps)) <= MAX_ACTIONS and command.text not in known:
            known.add(command.text)
            yield command


def _compose(steps: list[tuple[str, tuple[str, ...]]], digest: bytes) -> Command:
    """One to three steps; the digest decides which, how often each, and how they are joined."""
    draws = iter(int.from_bytes(digest[start : start + 2], "little") for start in range(0, len(digest), 2))
    text, done = "", []
    num_steps = (1, 2, 2, 2, 3, 3, 3, 3)[next(draws) % 8]
    for place in range(num_steps):
        step, actions = steps[next(draws) % len(steps)]
        times = list(_COUNTS)[next(draws) % len(_COUNTS)]
        text += ("first ", ", then ", ", finally ")[place] if num_steps > 1 else ""
        text += step + times
        done.append(actions * _COUNTS[times])
    return Command(text, tuple(done))
