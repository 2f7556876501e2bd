"""Very long texts cut where a tokenizer cuts too, so that their pieces have the same tokens as the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIECE_CHARACTERS = 1 << 20
"""A tokenizer holds about a hundred bytes for each token of a call."""
_WINDOW = 256
_TRIES = 8
# behind a line break, or before a space: where words begin for most tokenizers
_PLACES = re.compile(r"(?<=\S\n)(?=\S)|(?<=\S)(?= \S)")


def cut_exactly(tokenizer: PreTrainedTokenizerBase, text: str, *, characters: int = PIECE_CHARACTERS) -> list[str]:
    """Pieces of about so many characters whose tokens, laid end to end, are those of the whole text.

    A tokenizer that first splits a text into words (`pre_tokenizer`) tokenizes each by itself, so a place between two
    words is safe; whether a place is one is asked of the tokenizer, on a window around it. Where it splits no words,
    as in Llama 2 and Gemma, and where no place is found, the text stays whole.
    """
    if len(text) <= 2 * characters or tokenizer.backend_tokenizer.pre_tokenizer is None:
        return [text]
    pieces, start = [], 0
    while len(text) - start > 2 * characters:
        places = islice(_places(text, start + characters), _TRIES)
        end = next((place for place in places if _is_safe(tokenizer, text, place)), None)
        if end is None:
            break
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def _places(text: str, start: int) -> Iterator[int]:
    # both kinds have their turn: a tokenizer may cut at one of them only
    return (match.start() for match in _PLACES.finditer(text, start, len(text) - _WINDOW))


def _is_safe(tokenizer: PreTrainedTokenizerBase, text: str, place: int) -> bool:
    before, after = text[max(0, place - _WINDOW) : place], text[place : place + _WINDOW]
    if _words(tokenizer, before + after) != _words(tokenizer, before) + _words(tokenizer, after):
        return False
    return _ids(tokenizer, before + after) == _ids(tokenizer, before) + _ids(tokenizer, after)


def _words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    backend: Any = tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
