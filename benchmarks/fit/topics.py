"""Labelled texts: topics that words give away, and labels that only an interaction of words does."""

from __future__ import annotations

import random
from collections.abc import Iterator

from fit import languages, prose


def labelled(kind: str, which: str, *, seed: int, minority: float | None = None) -> Iterator[dict[str, str]]:
    """Rows of `text` and `label` without end.

    Args:
        kind: `topics`: `which` classes, each with its own nouns; `markers`: whether two words that stand anywhere are
            of the same kind; `order`: which of two words comes first; `english`: prose of the packages that
            `which` names, joined by a plus.
        which: see `kind`.
        seed: of the language and of the draws.
        minority: share of the second class, instead of equal shares.
    """
    if kind == "english":
        return _packages(which.split("+"), seed)
    if kind == "topics":
        return _topics(int(which), seed, minority)
    return _interactions(kind, seed)


def _topics(num_classes: int, seed: int, minority: float | None) -> Iterator[dict[str, str]]:
    home = languages.HOME[seed % len(languages.HOME)]
    language = languages.make_language(seed, lexicon=home)
    draw = random.Random(f"ftkit topics {seed}")
    nouns = draw.sample(language.lexicon["noun"], len(language.lexicon["noun"]))
    size = min(8, len(nouns) // num_classes)
    favourites = [nouns[label * size : (label + 1) * size] for label in range(num_classes)]
    streams = [
        languages.sentences(language, seed=seed * 100 + label, favourites=favourites[label], share=0.95)
        for label in range(num_classes)
    ]
    while True:
        label = draw.randrange(num_classes) if minority is None else int(draw.random() < minority)
        yield {"text": next(streams[label]), "label": f"topic{label}"}


def _interactions(kind: str, seed: int) -> Iterator[dict[str, str]]:
    home = languages.HOME[seed % len(languages.HOME)]
    language = languages.make_language(seed, lexicon=home)
    spoken = languages.sentences(language, seed=seed)
    draw = random.Random(f"ftkit markers {seed}")
    left, right = draw.sample(languages.make_lexicon(home + 500)["noun"], 2)
    while True:
        words = next(spoken).split()[:6]
        first, second = draw.choice((left, right)), draw.choice((left, right))
        if kind == "order":
            second = right if first == left else left
            label = "yes" if first == left else "no"
        else:
            label = "same" if first == second else "different"
        yield {"text": " ".join([first, *words, second]), "label": label}


def _packages(packages: list[str], seed: int) -> Iterator[dict[str, str]]:
    # as many of each, so that nothing is won by naming the larger
    count = min(len(prose.prose_of(package)) for package in packages)
    rows = [{"text": text, "label": package} for package in packages for text in prose.prose_of(package)[:count]]
    random.Random(seed).shuffle(rows)
    yield from rows
