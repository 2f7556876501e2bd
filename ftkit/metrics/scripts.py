"""What metrics that were made for English do not see in other scripts, said as notes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import chain

NOTABLE_SHARE = 0.05
"""Of the references' letters: from more than this on, a note says that a metric does not see them."""
_SEEN_BY_ROUGE = re.compile("[a-z0-9]")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts written without spaces between words: Thai, Lao, Burmese, Khmer, kana and Chinese characters."""


def notes_on_rouge(references: Sequence[Sequence[str]]) -> list[str]:
    """Say what share of the references ROUGE drops, and how many rows it can only give a 0.

    rouge-score keeps a to z and 0 to 9 after lower-casing and takes everything else for white space. Letters here are
    those of any script, their marks, digits, and signs such as emoji; punctuation and white space are not counted.
    """
    letters = _count_letters(references)
    seen = sum(count for letter, count in letters.items() if _SEEN_BY_ROUGE.search(letter.lower()))
    notes = []
    if letters and (share := 1 - seen / letters.total()) > NOTABLE_SHARE:
        notes.append(
            f"ROUGE reads a-z and 0-9 alone and does not see the others, {100 * share:.0f} % of the references' letters"
        )
    if blind := sum(not any(_SEEN_BY_ROUGE.search(one.lower()) for one in candidates) for candidates in references):
        notes.append(f"{blind} of {len(references)} rows have no reference that ROUGE can read, and score 0")
    return notes


def notes_on_words(references: Sequence[Sequence[str]]) -> list[str]:
    """Say that words are not told apart, where a notable share of the references is written without spaces."""
    letters = _count_letters(references)
    unspaced = sum(count for letter, count in letters.items() if _UNSPACED.match(letter))
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
    return Counter({one: count for one, count in characters.items() if _is_letter(one)})


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "So"
