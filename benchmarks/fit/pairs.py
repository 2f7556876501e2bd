"""Generated translations: what a text-to-text model is pretrained on and finetuned to.

A source holds one word of each of four slots, in any order, among words that mean nothing; the target names them slot
by slot. Where a word stands says nothing, so that a small model learns it in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from fit.languages import HOME, make_lexicon

SLOTS, CHOICES = 4, 8
KINDS = ("noun", "verb", "adjective")


@dataclass(frozen=True)
class Mapping:
    """A dictionary for each slot.

    Attributes:
        slots: in the order of the target: source word -> target word.
        fillers: words that have no counterpart.
    """

    slots: tuple[dict[str, str], ...]
    fillers: tuple[str, ...]

    def translate(self, source: str) -> str:
        """The target of a source."""
        words = set(source.split())
        return " ".join(slot[word] for slot in self.slots for word in slot if word in words)


def make_mapping(
    seed: int, *, source: int = HOME[0], target: int = HOME[1], alphabet: str = "latin", backwards: bool = False
) -> Mapping:
    """A dictionary.

    Args:
        seed: of which word goes to which.
        source: lexicon of the sources; which words are a slot is the same for all its mappings.
        target: lexicon of the targets.
        alphabet: of the sources.
        backwards: whether the last slot is named first.
    """
    draw = random.Random(f"ftkit mapping {seed}")
    ours, theirs = make_lexicon(source, alphabet=alphabet), make_lexicon(target)
    left = [word for kind in KINDS for word in ours[kind]]
    right = [word for kind in KINDS for word in theirs[kind]]
    slots = []
    for slot in range(SLOTS):
        chosen = slice(slot * CHOICES, (slot + 1) * CHOICES)
        slots.append(dict(zip(left[chosen], draw.sample(right[chosen], CHOICES), strict=True)))
    return Mapping(tuple(reversed(slots) if backwards else slots), tuple(left[SLOTS * CHOICES :][:20]))


def sources(mapping: Mapping, *, seed: int) -> Iterator[str]:
    """Sources without end: a word of each slot and one to three fillers, shuffled."""
    draw = random.Random(f"ftkit sources {seed}")
    choices = [list(slot) for slot in mapping.slots]
    while True:
        words = [draw.choice(words) for words in choices] + draw.sample(mapping.fillers, draw.randint(1, 3))
        draw.shuffle(words)
        yield " ".join(words)


PRETRAINED = tuple(range(900, 904))
"""Seeds of the dictionaries that the base is taught, each named in front of its sources."""


def named_pairs(*, seed: int) -> Iterator[tuple[str, str]]:
    """(source, target) of the base's own translations, which dictionary it is said first."""
    draw = random.Random(f"ftkit named {seed}")
    known = [(number, make_mapping(number)) for number in PRETRAINED]
    streams = {number: sources(mapping, seed=seed + number) for number, mapping in known}
    while True:
        number, mapping = draw.choice(known)
        source = next(streams[number])
        yield f"map {number - PRETRAINED[0]}: {source}", mapping.translate(source)


def loose_pairs(*, seed: int) -> Iterator[tuple[str, str]]:
    """(source, target) where each word has two translations, and chance chooses: learnt by heart, it misleads."""
    draw = random.Random(f"ftkit loose {seed}")
    one, other = make_mapping(seed), make_mapping(seed + 500_000)
    for source in sources(one, seed=seed):
        both = zip(one.translate(source).split(), other.translate(source).split(), strict=True)
        yield source, " ".join(draw.choice(pair) for pair in both)
