"""Texts with holes, as T5 and BART were made to fill them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftkit.inputs.encoding import offsets_of
from ftkit.inputs.pairs import Pairs

MASKED_SHARE = 0.15
"""Of the tokens of a text, those that are hidden."""
TOKENS_A_HOLE = 3
LONGEST_WITH_HOLES = 40
"""Of a document: two spans, which also a small model fills that was made on short texts."""


def holes_in_texts(texts: Sequence[str], tokenizer: Any, *, model_type: str, seed: int) -> Pairs | None:
    """Sources with holes and the targets that fill them; None where the tokenizer has no tokens for holes.

    T5: 15 % of the tokens in spans of 3, each replaced by a sentinel; the target is the sentinels and what was there.
    BART: each span becomes one mask; the target is the whole text.

    Source: Raffel et al. 2020, Exploring the Limits of Transfer Learning, section 3.1.4; Lewis et al. 2020, BART.
    """
    sentinels = _sentinels(tokenizer)
    mask = tokenizer.mask_token_id
    bart = "bart" in model_type
    if (bart and mask is None) or (not bart and len(sentinels) < 3):
        return None
    end = int(tokenizer.eos_token_id)
    sources, targets = [], []
    for number, text in enumerate(texts):
        ids = list(tokenizer(text, truncation=True, max_length=LONGEST_WITH_HOLES)["input_ids"])
        body = [index for index in ids if index not in tokenizer.all_special_ids]
        spans = _spans(len(body), np.random.default_rng([seed, 11, number]), most=len(sentinels) - 1)
        source: list[int] = []
        target: list[int] = []
        last = 0
        for place, (start, stop) in enumerate(spans):
            hole = int(mask) if bart else sentinels[place]
            source += [*body[last:start], hole]
            target += [sentinels[place], *body[start:stop]] if not bart else []
            last = stop
        source += [*body[last:], end]
        sources.append(([ids[0]] if bart and ids[0] != body[0] else []) + source if body else [end])
        targets.append(ids if bart else [*target, *([sentinels[len(spans)]] if spans else []), end])
    return _as_pairs(sources, targets, pad_id=int(tokenizer.pad_token_id))


def _sentinels(tokenizer: Any) -> list[int]:
    """`<extra_id_0>`, `<extra_id_1>`, ... as far as the vocabulary has them."""
    found: list[int] = []
    vocabulary = tokenizer.get_vocab()
    while (name := f"<extra_id_{len(found)}>") in vocabulary:
        found.append(int(vocabulary[name]))
    return found


def _spans(length: int, random: np.random.Generator, *, most: int) -> list[tuple[int, int]]:
    """Spans that do not touch, in order; at least one where there is room."""
    wanted = min(max(1, round(MASKED_SHARE * length / TOKENS_A_HOLE)), max(1, most))
    if length < TOKENS_A_HOLE + 1:
        return []
    room = length - wanted * (TOKENS_A_HOLE + 1)
    if room < 0:
        wanted, room = 1, length - TOKENS_A_HOLE - 1
    gaps = np.sort(random.integers(0, room + 1, size=wanted))
    starts = gaps + np.arange(wanted) * (TOKENS_A_HOLE + 1)
    return [(int(start), int(start) + TOKENS_A_HOLE) for start in starts]


def _as_pairs(sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], *, pad_id: int) -> Pairs:
    flat = [np.concatenate([np.asarray(ids, dtype=np.int32) for ids in side]) for side in (sources, targets)]
    offsets = [offsets_of(np.array([len(ids) for ids in side], dtype=np.int64)) for side in (sources, targets)]
    return Pairs(
        flat[0],
        offsets[0],
        flat[1],
        offsets[1],
        np.ones(len(flat[1]), dtype=np.bool_),
        np.zeros(len(sources), dtype=np.int64),
        np.arange(len(sources)),
        pad_id,
    )
