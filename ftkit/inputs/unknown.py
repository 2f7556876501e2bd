"""Tokens that stand for what a tokenizer does not know: of a text in them, a model sees nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.models.families import read_object

WORTH_SAYING = 0.01
"""Share of unknown tokens from which on it is said."""
SAMPLE_TEXTS = 1_000
"""Texts, spread evenly, by which a whole split is judged where its tokens are not at hand."""


def unknown_warning(tokenizer: Any, ids: Iterable[Any], *, whose: str) -> str | None:
    """What to say of texts that a tokenizer hardly knows; None where it knows them.

    Args:
        tokenizer: of transformers.
        ids: token ids of each text, or of all laid end to end; special tokens among them do not count.
        whose: tokens, for the sentence: `of the train texts`.
    """
    unknown = tokenizer.unk_token_id
    # where the end token stands in for one that is not there, nothing is unknown
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.bos_token_id):
        return None
    return _warning(_flat(ids), unknown, tokenizer.all_special_ids, name=tokenizer.unk_token, whose=whose)


def unknown_warning_by_files(folder: Path, texts: Sequence[str], *, whose: str) -> str | None:
    """The same by the tokenizer's files alone, without transformers; None where they do not say.

    Args:
        folder: of the checkpoint.
        texts: SAMPLE_TEXTS of them are enough.
        whose: as above.
    """
    from tokenizers import Tokenizer

    named = read_object(folder / "special_tokens_map.json") | read_object(folder / "tokenizer_config.json")
    name = named.get("unk_token")
    name = name.get("content") if isinstance(name, dict) else name
    if not isinstance(name, str) or not (folder / "tokenizer.json").is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # the library raises Exception itself; whoever loads the tokenizer tells of it
    except Exception:
        return None
    if (unknown := tokenizer.token_to_id(name)) is None:
        return None
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    return _warning(_flat(ids), unknown, (), name=name, whose=whose)


def _flat(ids: Iterable[Any]) -> np.ndarray:
    return ids if isinstance(ids, np.ndarray) else np.fromiter(chain.from_iterable(ids), dtype=np.int64)


def _warning(ids: np.ndarray, unknown: int, special: Iterable[int], *, name: str, whose: str) -> str | None:
    num_unknown = int(np.count_nonzero(ids == unknown))
    num_special = int(np.isin(ids, [index for index in special if index != unknown]).sum())
    num_tokens = len(ids) - num_special
    if not num_tokens or num_unknown < WORTH_SAYING * num_tokens:
        return None
    return (
        f"{num_unknown / num_tokens:.0%} of the tokens {whose} are {name}, which says nothing: the tokenizer does not"
        " know their letters or words, so choose a base for this language"
    )
