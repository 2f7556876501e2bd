"""One output held against its references, by words and by characters, and what that does not see in other scripts.

White space never counts: texts are compared after each run of it has become one space and that at the ends has gone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.rouge_words import UNSPACED, is_letter, unicode_words


def collapse(text: str) -> str:
    """Make each run of white space one space and strip the ends; what Unicode calls white space, no-break included."""
    return " ".join(text.split())


def exact_match(output: str, references: Sequence[str]) -> float:
    """1 if the output equals a reference but for white space, else 0; case and punctuation count."""
    collapsed = collapse(output)
    return float(any(collapsed == collapse(reference) for reference in references))


def token_f1(output: str, references: Sequence[str]) -> float:
    """F1 of the bags of words of output and reference, of the best reference, in [0, 1]; words end at white space.

    Two texts without a word agree (1); one of them alone without a word shares nothing with the other (0).

    Source: Rajpurkar et al. 2016, SQuAD, section 6.1, without its normalisation (lower case, no punctuation, no
    articles), which is made for English.

    Example:
        >>> token_f1("the cat sat", ["a dog", "the cat sat down there"])
        0.75
    """
    words = Counter(output.split())
    return max(_f1_of_bags(words, Counter(reference.split())) for reference in references)


def _f1_of_bags(one: Counter[str], other: Counter[str]) -> float:
    size = one.total() + other.total()
    return 2 * (one & other).total() / size if size else 1.0


def count_words(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Words of each output and of its reference that is closest in length, the shorter one of a tie (N, 2)."""
    counts = []
    for output, candidates in zip(outputs, references, strict=True):
        length = len(output.split())
        lengths = [len(reference.split()) for reference in candidates]
        counts.append((length, min(lengths, key=lambda other: (abs(other - length), other))))
    return np.array(counts, dtype=np.int64).reshape(-1, 2)


def count_edits(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Levenshtein distance of each output to its nearest reference, and that one's characters (N, 2).

    Characters are Unicode code points. Of several references at the same distance, the longest one counts.
    """
    from rapidfuzz.distance import Levenshtein

    counts = []
    for output, candidates in zip(outputs, references, strict=True):
        collapsed = collapse(output)
        edits = [(Levenshtein.distance(collapsed, one), len(one)) for one in map(collapse, candidates)]
        counts.append(min(edits, key=lambda pair: (pair[0], -pair[1])))
    return np.array(counts, dtype=np.int64).reshape(-1, 2)


NOTABLE_SHARE = 0.05
"""Of the references' letters: from more than this on, a note says that a metric does not see them."""


NOTABLE_WORDS = 0.01
"""Of the references' words: from more than this on, a note says that they lose letters."""

_SEEN_BY_ROUGE = re.compile("[a-z0-9]")


def notes_on_rouge(references: Sequence[Sequence[str]], language: str) -> list[str]:
    """Say what share of the references' words lose letters, and how many rows can only have a 0.

    For English, rouge-score keeps a to z and 0 to 9 after lower-casing and takes everything else for white space.
    Letters here are those of any script, their marks, digits, and signs such as emoji; punctuation is not counted.
    """
    if language != "english":
        return []
    words = [word for text in chain.from_iterable(references) for word in unicode_words(text)]
    cut = sum(not word.isascii() for word in words)
    notes = []
    if words and (share := cut / len(words)) > NOTABLE_WORDS:
        notes.append(
            f"ROUGE of English reads a-z and 0-9 alone: {100 * share:.0f} % of the references' words lose letters "
            "(evaluation.rouge_language: other, or the language)"
        )
    if blind := sum(not any(_SEEN_BY_ROUGE.search(one.lower()) for one in candidates) for candidates in references):
        notes.append(f"{blind} of {len(references)} rows have no reference that ROUGE can read, and score 0")
    return notes


def notes_on_words(references: Sequence[Sequence[str]]) -> list[str]:
    """Say that words are not told apart, where a notable share of the references is written without spaces."""
    letters = _count_letters(references)
    unspaced = sum(count for letter, count in letters.items() if UNSPACED.match(letter))
    if not letters or (share := unspaced / letters.total()) <= NOTABLE_SHARE:
        return []
    return [
        f"{100 * share:.0f} % of the references' letters are of scripts without spaces between words, of which this "
        "metric takes a whole clause for a word; chrf and edit_distance go by characters"
    ]


def _count_letters(references: Sequence[Sequence[str]]) -> Counter[str]:
    characters: Counter[str] = Counter()
    for text in chain.from_iterable(references):
        characters.update(text)
    return Counter({one: count for one, count in characters.items() if is_letter(one)})
