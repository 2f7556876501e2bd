"""An encoder-decoder writes outputs for sources: in batches of like length, reproducibly, up to an end token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from ftkit.decoding.continuing import Continuation, batched, continuation, new_ids, pad_id
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.text import NewText, Pieces

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
        max_batch_tokens: of sources and outputs together, padding and beams included; a single row may have more.
        write: called with each new piece of text, for one source and one beam; else never.
        advance: called with the number of sources just answered.
    """
    limit = _positions(model, without="PREFIX_TUNING")
    config = decoding.generation_config(
        stop_ids=stop_ids,
        pad_id=pad_id(tokenizer),
        # T5 counts distances without end
        max_new_tokens=decoding.max_new_tokens if limit is None else min(decoding.max_new_tokens, limit),
        **settings_of_the_model(model),
    )
    text = NewText(tokenizer, [])
    streams = write is not None and len(sources) == 1 and decoding.num_beams == 1
    streamer = Pieces(text, write) if streams and write is not None else None
    found: dict[int, Continuation] = {}
    for number, rows in enumerate(batched(sources, decoding, max_batch_tokens)):
        batch = new_ids(model, [sources[row] for row in rows], config, seed=(decoding.seed, number), streamer=streamer)
        found |= {row: continuation(text, ids, stop_ids) for row, ids in zip(rows, batch, strict=True)}
        advance(len(rows))
    return [found[row] for row in range(len(sources))]


def settings_of_the_model(model: Any) -> dict[str, Any]:
    """What of a checkpoint's own generation settings belongs to its architecture."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own = getattr(base, "generation_config", None)
    values = {name: getattr(own, name, None) for name in OF_THE_MODEL}
    if values["decoder_start_token_id"] is None:
        values["decoder_start_token_id"] = getattr(base.config, "decoder_start_token_id", None)
    return {name: value for name, value in values.items() if value is not None}


def source_positions(model: Any) -> int | None:
    """Tokens of a source that an encoder has positions for, a tuned prompt taken off; None when nothing says it."""
    return _positions(model, without="PROMPT_TUNING")


def _positions(model: Any, *, without: str) -> int | None:
    """Positions of either side, what an adapter of the type `without` takes of them taken off."""
    limit = getattr(model.config, "max_position_embeddings", None)
    adapter: Any = getattr(model, "active_peft_config", None)
    taken = adapter.num_virtual_tokens if getattr(adapter, "peft_type", None) == without else 0
    return int(limit) - taken if limit else None
