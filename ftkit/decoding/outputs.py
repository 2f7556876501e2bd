"""An encoder-decoder writes outputs for sources: in batches of like length, reproducibly, up to an end token."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ftkit.decoding.continuing import Continuation, continuation, pad_id, seeded, settings_alone
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.text import NewText, Pieces

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

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
    """Let an encoder-decoder write one output for each source.

    Sources of about one length run together, padded on the right; neither the batch nor the order changes an output.
    The same sources, decoding and versions give the same samples; torch's global generator is left as it was.

    Args:
        model: an encoder-decoder in eval mode, or a peft model around one.
        tokenizer: decodes, and names the pad token.
        sources: N sources as token ids with their special tokens, none of them empty.
        decoding: how.
        stop_ids: tokens that end an output.
        max_batch_tokens: of sources and outputs together, padding and beams included; a single row may have more.
        write: called with each new piece of text, for one source and one beam; else never.
        advance: called with the number of sources just answered.

    Returns:
        N outputs, in the order of the sources.
    """
    found: list[Continuation | None] = [None] * len(sources)
    streams = write is not None and len(sources) == 1 and decoding.num_beams == 1
    config = decoding.generation_config(
        stop_ids=stop_ids,
        pad_id=pad_id(tokenizer),
        max_new_tokens=_room(model, decoding.max_new_tokens),
        **settings_of_the_model(model),
    )
    text = NewText(tokenizer, [])
    for number, rows in enumerate(_batches(sources, decoding, max_batch_tokens)):
        streamer = Pieces(text, write) if streams and write is not None else None
        with seeded(model.device, decoding.seed, number):
            batch = _generate(model, [sources[row] for row in rows], config, streamer)
        for row, ids in zip(rows, batch, strict=True):
            found[row] = continuation(text, ids, stop_ids)
        advance(len(rows))
    return [one for one in found if one is not None]


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


def _room(model: Any, max_new_tokens: int) -> int:
    """No more tokens than the decoder has positions for, a learnt prefix taken off; T5 counts distances without end."""
    limit = _positions(model, without="PREFIX_TUNING")
    return max_new_tokens if limit is None else min(max_new_tokens, limit)


def _positions(model: Any, *, without: str) -> int | None:
    limit = getattr(model.config, "max_position_embeddings", None)
    adapter: Any = getattr(model, "active_peft_config", None)
    taken = adapter.num_virtual_tokens if getattr(adapter, "peft_type", None) == without else 0
    return int(limit) - taken if limit else None


def _batches(sources: Sequence[Sequence[int]], decoding: Decoding, max_tokens: int) -> Iterator[list[int]]:
    """Rows in batches of similar length, longest first, since long sources mostly have long outputs."""
    order = sorted(range(len(sources)), key=lambda row: -len(sources[row]))
    start = 0
    while start < len(order):
        width = (len(sources[order[start]]) + decoding.max_new_tokens) * decoding.num_beams
        stop = start + max(1, max_tokens // width)
        yield order[start:stop]
        start = stop


def _generate(
    model: Any, sources: Sequence[Sequence[int]], config: GenerationConfig, streamer: Pieces | None
) -> list[list[int]]:
    """New ids of each source, without the decoder's first token; what follows an end token included."""
    width = max(map(len, sources))
    pad = config.pad_token_id
    ids = torch.tensor([[*source, *[pad] * (width - len(source))] for source in sources], device=model.device)
    mask = torch.tensor([[1] * len(source) + [0] * (width - len(source)) for source in sources], device=model.device)
    with torch.inference_mode(), settings_alone(model, config), warnings.catch_warnings():
        # peft says so at every step with a tuned prompt, whose positions transformers then counts itself
        warnings.filterwarnings("ignore", message="Position ids are not supported")
        written = model.generate(input_ids=ids, attention_mask=mask, generation_config=config, streamer=streamer)
    new: list[list[int]] = written[:, 1:].tolist()
    return new
