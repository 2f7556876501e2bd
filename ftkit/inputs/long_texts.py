"""Very long texts cut where a tokenizer cuts too, so that their pieces have the same tokens as the whole."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.inputs.encoding import SpecialTokens, encode_parts, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIECE_CHARACTERS = 1 << 16
"""A tokenizer holds some hundred bytes for each token of a call, and works on several pieces at a time."""
_WINDOW = 256
_TRIES = 8
_BEHIND_BREAK = re.compile(r"(?<=[^\n]\n)(?=[^\n])")
_BEFORE_SPACE = re.compile(r"(?<=\S)(?= \S)")


class Cutter:
    """Cuts long texts.

    A place is safe for one of two reasons. A tokenizer that first splits a text into words (GPT-2, Llama 3, Qwen)
    tokenizes each by itself, so between two words it may be cut. One that does not (Llama 2, Gemma) joins neighbours
    to ever longer tokens of its vocabulary: where no token of that holds the two characters on both sides, nothing
    was ever joined. Either way the tokens of a window around the place are compared with those of its halves.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens, *, characters: int = PIECE_CHARACTERS
    ) -> None:
        self.tokenizer = tokenizer
        self.special = special
        self.characters = characters
        # a part that begins no text is tokenized behind a line break, so it has to have been behind one
        self.places = [_BEHIND_BREAK] if special.marks_beginnings else [_BEHIND_BREAK, _BEFORE_SPACE]

    def cut(self, text: str) -> list[str]:
        """Pieces whose tokens, the later ones as parts that begin no text, end to end are those of the whole text.

        Where no safe place is found the text stays whole.
        """
        pieces, start, wanted = [], 0, self.characters
        while len(text) - wanted > self.characters:
            end = self._safe_place(text, wanted)
            wanted = (end or wanted) + self.characters
            if end is not None:
                pieces.append(text[start:end])
                start = end
        return [*pieces, text[start:]]

    def _safe_place(self, text: str, wanted: int) -> int | None:
        """The first place behind `wanted` that is seen to be safe, None when the nearest few of each kind are not."""
        until = min(wanted + self.characters, len(text) - _WINDOW)
        found = chain.from_iterable(islice(kind.finditer(text, wanted, until), _TRIES) for kind in self.places)
        return next((match.start() for match in found if self._is_safe(text, match.start())), None)

    def _is_safe(self, text: str, place: int) -> bool:
        before, after = text[max(0, place - _WINDOW) : place], text[place : place + _WINDOW]
        words = self._words(before + after)
        apart = len(words) > 1 and words == self._words(before) + self._words(after)
        if not apart and not (len(words) == 1 and self._never_joined(before[-1], after[0])):
            return False
        behind = encode_parts(self.tokenizer, [after], np.zeros(1, dtype=bool), self.special)
        parted = token_ids(self.tokenizer, before) + [int(index) for index in behind.ids]
        return token_ids(self.tokenizer, before + after) == parted

    def _words(self, text: str) -> list[str]:
        backend: Any = self.tokenizer.backend_tokenizer
        if backend.pre_tokenizer is None:
            return [text]
        return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(self._normalised(text))]

    def _normalised(self, text: str) -> str:
        normalizer: Any = self.tokenizer.backend_tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def _never_joined(self, left: str, right: str) -> bool:
        """Whether no token holds the two characters side by side."""
        pair = self._normalised(f"a{left}{right}")[-2:]
        kind = type(self.tokenizer.backend_tokenizer.model).__name__
        return pair[0] == "\n" and kind in ("BPE", "Unigram") and pair[1] not in self._behind_breaks

    @cached_property
    def _behind_breaks(self) -> set[str]:
        """Characters that stand behind a line break within some token."""
        tokens = (token for token in self.tokenizer.get_vocab() if "\n" in token[:-1])
        return {right for token in tokens for left, right in pairwise(token) if left == "\n"}
