"""New tokens to new text, at the end or piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.generation.streamers import BaseStreamer

from ftkit.inputs.written import decode_written

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HALF_A_CHARACTER = "\ufffd"
"""What the first of a character's several tokens decodes to."""

CONTEXT_TOKENS = 8


class NewText:
    """Decodes what follows a prompt of token ids.

    Some tokenizers drop the space before the first word that they decode; so the end of the prompt is decoded along
    and taken off again.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> None:
        self.tokenizer: Any = tokenizer
        self.context = list(prompt[-CONTEXT_TOKENS:])
        self.before = self._decode(self.context)

    def of(self, ids: Sequence[int]) -> str:
        """The text of new token ids, without special tokens."""
        whole = self._decode([*self.context, *ids])
        return whole[len(self.before) :] if whole.startswith(self.before) else self._decode(list(ids))

    def _decode(self, ids: list[int]) -> str:
        return decode_written(self.tokenizer, ids)


class Pieces(BaseStreamer):
    """Hands new text on to `write` as soon as its characters are whole."""

    def __init__(self, text: NewText, write: Callable[[str], None]) -> None:
        self.text = text
        self.write = write
        self.ids: list[int] = []
        self.num_written = 0
        self.prompt_is_past = False

    def __deepcopy__(self, _memo: dict[int, Any]) -> Pieces:
        """Itself: peft copies all that it is given to generate under a tuned prompt, the tokenizer in here too."""
        return self

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt, then one token at a time."""
        if self.prompt_is_past:
            self.ids += value.reshape(-1).tolist()
            self._hand_on(whole=False)
        self.prompt_is_past = True

    def end(self) -> None:
        """Hand on what was held back."""
        self._hand_on(whole=True)

    def _hand_on(self, *, whole: bool) -> None:
        text = self.text.of(self.ids)
        if whole or not text.endswith(HALF_A_CHARACTER):
            if piece := text[self.num_written :]:
                self.write(piece)
            self.num_written = len(text)
