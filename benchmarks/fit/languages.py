"""Generated languages: a lexicon, a grammar and what goes with what, so that fresh text never runs out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

LETTERS = {
    "latin": ("ptkbdgmnszlrfv", "aeiou"),
    "greek": ("πτκβδγμνσζλρφχ", "αειου"),
    "cyrillic": ("птквдгмнсзлрфж", "аеиоу"),
    "georgian": ("პტკბდგმნსზლრფშ", "აეიოუ"),
    "armenian": ("պտկբդգմնսզլրֆշ", "աեիու"),
    "hiragana": ("さたかばだがまなはざらや", "あえいおう"),
    "hebrew": ("בגדזחטכלמנספקרשת", "אעוי"),
    "thai": ("กขคจดตทนบปพมรลวส", "าะแโไ"),
    "katakana": ("サタカバダガマナハザラヤ", "アエイオウ"),
}
"""Alphabet -> its consonants and vowels."""
SIZES = {"noun": 40, "verb": 16, "adjective": 12, "preposition": 4, "article": 3}
"""Words of each kind in a lexicon."""
HOME = (11, 12, 13, 14)
"""Lexicons that the base models are pretrained on."""


@dataclass(frozen=True)
class Language:
    """Sentences over a lexicon.

    Attributes:
        lexicon: word kind -> words, the commonest first.
        order: of subject, verb and object, such as `SOV`.
        objects: verb -> the nouns that mostly go with it.
        adjective_first: whether adjectives stand before nouns.
    """

    lexicon: dict[str, list[str]]
    order: str
    objects: dict[str, list[str]]
    adjective_first: bool


def make_lexicon(seed: int, *, alphabet: str = "latin") -> dict[str, list[str]]:
    """Invented words of two or three syllables; the same for the same seed."""
    draw = random.Random(f"ftkit lexicon {alphabet} {seed}")
    consonants, vowels = LETTERS[alphabet]
    syllables = [c + v for c in draw.sample(consonants, min(9, len(consonants))) for v in vowels]
    known: set[str] = set()
    found: dict[str, list[str]] = {}
    for kind, size in SIZES.items():
        words: list[str] = []
        while len(words) < size:
            count = 1 if kind in {"article", "preposition"} else draw.choice((2, 2, 3))
            word = "".join(draw.choice(syllables) for _ in range(count))
            if word not in known:
                known.add(word)
                words.append(word)
        found[kind] = words
    return found


def make_language(seed: int, *, lexicon: int, alphabet: str = "latin", partners: int = 5) -> Language:
    """A language, or a dialect where the lexicon is that of others too.

    Args:
        seed: of order and of what goes with what.
        lexicon: seed of the words.
        alphabet: a key of LETTERS.
        partners: nouns that a verb mostly goes with.
    """
    words = make_lexicon(lexicon, alphabet=alphabet)
    draw = random.Random(f"ftkit language {seed}")
    objects = {verb: draw.sample(words["noun"], partners) for verb in words["verb"]}
    return Language(words, draw.choice(("SVO", "SOV", "VSO", "OVS")), objects, draw.random() < 0.5)


def sentences(language: Language, *, seed: int, favourites: Sequence[str] = (), share: float = 0.75) -> Iterator[str]:
    """Sentences without end, in an order that the seed decides; some occur twice.

    Args:
        language: to speak.
        seed: of the draws.
        favourites: nouns that subjects and places are mostly taken from.
        share: of them that are.
    """
    draw = random.Random(f"ftkit sentences {seed}")
    while True:
        yield _sentence(language, draw, favourites, share)


def _sentence(language: Language, draw: random.Random, favourites: Sequence[str], share: float) -> str:
    words = language.lexicon
    subject = draw.choice(favourites) if favourites and draw.random() < share else _zipf(draw, words["noun"])
    verb = _zipf(draw, words["verb"])
    target = draw.choice(language.objects[verb]) if draw.random() < 0.9 else _zipf(draw, words["noun"])
    parts = {"S": _phrase(language, draw, subject), "V": [verb], "O": _phrase(language, draw, target)}
    sentence = [word for role in language.order for word in parts[role]]
    if draw.random() < 0.4:
        noun = draw.choice(favourites) if favourites and draw.random() < share else _zipf(draw, words["noun"])
        sentence += [draw.choice(words["preposition"]), *_phrase(language, draw, noun)]
    return " ".join(sentence)


def _phrase(language: Language, draw: random.Random, noun: str) -> list[str]:
    # the article follows from the noun: something to be learnt beside the words
    article = language.lexicon["article"][language.lexicon["noun"].index(noun) % 3]
    if draw.random() > 0.35:
        return [article, noun]
    adjective = _zipf(draw, language.lexicon["adjective"])
    return [article, adjective, noun] if language.adjective_first else [article, noun, adjective]


def _zipf(draw: random.Random, words: Sequence[str]) -> str:
    return draw.choices(words, weights=[1 / (rank + 3) for rank in range(len(words))])[0]


def distinct(texts: Iterator[str], count: int, *, known: set[str] | None = None) -> list[str]:
    """The next `count` texts that are not known yet; they are added to `known`."""
    known = set() if known is None else known

    def fresh() -> Iterator[str]:
        for text in texts:
            if text not in known:
                known.add(text)
                yield text

    return list(islice(fresh(), count))
