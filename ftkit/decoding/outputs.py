"""An encoder-decoder writes outputs for sources: in batches of like length, reproducibly, up to an end token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ftkit.decoding.continuing import Continuation, batched, continuation, new_ids, pad_id
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.text import NewText, Pieces
from ftkit.models.languages import in_languages, marks_languages, target_frame
from ftkit.models.positions import TextSide, positions_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OF_THE_MODEL = ("decoder_start_token_id", "forced_bos_token_id", "bad_words_ids")
"""Settings of a checkpoint's generation that belong to its architecture, not to a way of decoding: BART and mBART begin
with a certain token, Marian must never write its padding."""
TOKENS_A_BATCH = 16_384
"""Tokens of sources and outputs together, padding and beams included."""


def write_outputs(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    sources: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    stop_ids: Collection[int],
    languages: Sequence[str] | None = None,
    max_batch_tokens: int = TOKENS_A_BATCH,
    write: Callable[[str], None] | None = None,
    advance: Callable[[int], None] = lambda _sources: None,
) -> list[Continuation]:
    """Let an encoder-decoder in eval mode write one output for each of N sources, in their order.

    Sources of about one length run together, padded on the right; neither the batch nor the order changes an output.
    The same sources, decoding and versions give the same samples; torch's global generator is left as it was.

    Args:
        sources: token ids with their special tokens, none of them empty.
        stop_ids: tokens that end an output.
        languages: of the N outputs; None: the tokenizer's own.
        max_batch_tokens: of sources and outputs together, padding and beams included; a single row may have more.
        write: called with each new piece of text, for one source and one beam; else never.
        advance: called with the number of sources just answered.
    """
    limit = _positions(model, "target", without="PREFIX_TUNING")
    # T5 counts distances without end
    longest = decoding.max_new_tokens if limit is None else min(decoding.max_new_tokens, limit)
    text = NewText(tokenizer, [])
    streams = write is not None and len(sources) == 1 and decoding.num_beams == 1
    streamer = Pieces(text, write) if streams and write is not None else None
    found: dict[int, Continuation] = {}
    number = 0
    for language in dict.fromkeys(languages) if languages is not None else (None,):
        those = [row for row in range(len(sources)) if languages is None or languages[row] == language]
        settings = settings_of_the_model(model, tokenizer, language)
        config = decoding.generation_config(
            stop_ids=stop_ids, pad_id=pad_id(tokenizer), max_new_tokens=longest, **settings
        )
        for batch in batched([sources[row] for row in those], decoding, max_batch_tokens):
            rows = [those[place] for place in batch]
            seed = (decoding.seed, number)
            new = new_ids(model, [sources[row] for row in rows], config, seed=seed, streamer=streamer)
            found |= {row: continuation(text, ids, stop_ids) for row, ids in zip(rows, new, strict=True)}
            number += 1
            advance(len(rows))
    return [found[row] for row in range(len(sources))]


def settings_of_the_model(
    model: Any, tokenizer: PreTrainedTokenizerBase | None = None, language: str | None = None
) -> dict[str, Any]:
    """What of a checkpoint's own generation settings belongs to its architecture, and to what is written.

    With a tokenizer a decoder begins as the loss has it: with the model's own shift of a target, and with the mark of
    its language, `language` where one is named. A checkpoint may name others: an output would begin as nothing was
    trained to.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own = getattr(base, "generation_config", None)
    values = {name: getattr(own, name, None) for name in OF_THE_MODEL}
    if values["decoder_start_token_id"] is None:
        values["decoder_start_token_id"] = getattr(base.config, "decoder_start_token_id", None)
    shift = getattr(base, "prepare_decoder_input_ids_from_labels", None)
    if tokenizer is not None:
        with in_languages(tokenizer, target=language):
            before, behind = target_frame(tokenizer)
        start = getattr(base.config, "decoder_start_token_id", None)
        if shift is not None:
            labels = torch.tensor([[*before, *behind]], device=base.device)
            start = int(shift(labels=labels)[0, 0])
        values["decoder_start_token_id"] = start
        if marks_languages(tokenizer):
            values["forced_bos_token_id"] = before[0] if before else None
    return {name: value for name, value in values.items() if value is not None}


def source_positions(model: Any) -> int | None:
    """Tokens of a source that an encoder has positions for, a tuned prompt taken off; None when nothing says it."""
    return _positions(model, "source", without="PROMPT_TUNING")


def _positions(model: Any, side: TextSide, *, without: str) -> int | None:
    """Positions of a side, what an adapter of the type `without` takes of them taken off."""
    limit = positions_of(model.config.to_dict(), side=side)
    adapter: Any = getattr(model, "active_peft_config", None)
    taken = adapter.num_virtual_tokens if getattr(adapter, "peft_type", None) == without else 0
    return None if limit is None else limit - taken
