"""Added tokens that stand in the targets' own text, and so in what is written: REBEL's `<triplet>`, a tag of one's own.

Special tokens stand for no text but for these. Which they are is kept with the tokenizer, so that whoever lets the
saved model write reads them as they were learnt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.models.languages import language_ids

if TYPE_CHECKING:
    import numpy.typing as npt
    from transformers import PreTrainedTokenizerBase

WRITTEN = "written_as_text"
"""Their key in tokenizer_config.json."""
_OF_THE_FRAME = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "cls_token_id", "sep_token_id")


def note_written(tokenizer: PreTrainedTokenizerBase, ids: npt.NDArray[np.int32]) -> None:
    """Find the added tokens in the tokens (T,) of targets, and keep them with the tokenizer.

    Begin, end, padding, unknown and language tokens are none of them: a tokenizer sets those itself.
    """
    given: Any = tokenizer
    frame = {getattr(given, name) for name in _OF_THE_FRAME} | set(language_ids(tokenizer).values())
    added = given.added_tokens_decoder
    given.init_kwargs.pop(WRITTEN, None)
    found = [str(added[index]) for index in np.unique(ids).tolist() if index in added and index not in frame]
    if found:
        given.init_kwargs[WRITTEN] = found


def written_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The added tokens that stood in the targets of the training."""
    return tuple(tokenizer.init_kwargs.get(WRITTEN) or ())


def decode_written(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of tokens, without the special ones that stand for none."""
    given: Any = tokenizer
    tokens = written_tokens(tokenizer)
    plain: dict[str, Any] = {"clean_up_tokenization_spaces": False}
    languages = set(language_ids(tokenizer).values())
    ids = [index for index in ids if index not in languages]
    if not tokens:
        text: str = given.decode(ids, skip_special_tokens=True, **plain)
        return text
    special = {index for index, token in given.added_tokens_decoder.items() if token.special}
    silent = (special | set(given.all_special_ids)) - set(given.convert_tokens_to_ids(list(tokens)))
    return as_written(tokenizer, given.decode([index for index in ids if index not in silent], **plain))


def as_written(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A text as the tokenizer could write it: T5's loses the space before an added token, so one stands on each side.

    A text without such tokens, and any text of a tokenizer that keeps spaces, stays as it is.
    """
    tokens = written_tokens(tokenizer)
    if not any(token in text for token in tokens) or _keeps_spaces(tokenizer, tokens[0]):
        return text
    anyone = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    return re.sub(rf"\s*({anyone})\s*", r" \1 ", text).replace("  ", " ").strip()


def _keeps_spaces(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    given: Any = tokenizer
    text = f"a {token} a"
    return bool(given.decode(given(text, add_special_tokens=False)["input_ids"]) == text)
