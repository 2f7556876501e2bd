"""The words that ROUGE counts: rouge-score's own for English, those of any script for other languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from types import SimpleNamespace

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts written without spaces between words: Thai, Lao, Burmese, Khmer, kana and Chinese characters."""
SHORTEST_STEMMED = 4
"""Shorter words are left as they are, as rouge-score leaves them."""


def words_for(language: str) -> Callable[[str], list[str]]:
    """Text -> its words, lower-cased and stemmed, remembered by text.

    `english` is rouge-score with the Porter stemmer: a to z and 0 to 9, whatever else is white space. Any other
    language has the letters, marks and digits of every script, a character for a word where a script has no spaces,
    and Snowball's stemmer; `other` is not stemmed.
    """
    if language == "english":
        from nltk.stem.porter import PorterStemmer
        from rouge_score import tokenize

        stemmer = SimpleNamespace(stem=cache(PorterStemmer().stem))
        return cache(lambda text: list(tokenize.tokenize(text, stemmer)))
    stem = _stemmer(language)
    return cache(lambda text: [stem(word) for word in unicode_words(text)])


def unicode_words(text: str) -> list[str]:
    """Words of any script, lower-cased.

    Example:
        >>> unicode_words("Müller's Straße, 3 Äpfel: \u732b\u304c")
        ['müller', 's', 'straße', '3', 'äpfel', '猫', 'が']
    """
    kept = (_shown(character) for character in unicodedata.normalize("NFC", text).lower())
    return "".join(kept).split()


@cache
def _shown(character: str) -> str:
    if not is_letter(character):
        return " "
    return f" {character} " if UNSPACED.match(character) else character


def is_letter(character: str) -> bool:
    """Whether a character is of a word: a letter of any script, a mark on one, a digit, or a sign such as an emoji."""
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "So"


def _stemmer(language: str) -> Callable[[str], str]:
    if language == "other":
        return lambda word: word
    from nltk.stem.snowball import SnowballStemmer

    stem = cache(SnowballStemmer(language).stem)
    return lambda word: stem(word) if len(word) >= SHORTEST_STEMMED else word


def rouge_signature(name: str, language: str) -> str:
    """How a ROUGE score came about, in the manner of sacrebleu's signatures."""
    sentences = "|sentences:lines" if name == "rougeLsum" else ""
    words = {"english": "stemmer:porter|drops:all but a-z0-9", "other": "stemmer:none|words:unicode"}
    told = words.get(language, f"stemmer:snowball-{language}|words:unicode")
    return f"{name}|measure:f|refs:best|case:lc|{told}{sentences}|version:rouge-score {version('rouge-score')}"
