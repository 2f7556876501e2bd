"""A model writes on behind prompts: in batches, reproducibly, up to a token that ends it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ftkit.decoding.knobs import Decoding
from ftkit.decoding.text import NewText, Pieces
from ftkit.models.positions import positions_of
from ftkit.models.scoring import is_encoder_decoder, polled

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

SAMPLES_AT_A_TIME = 100


@dataclass(frozen=True)
class Continuation:
    """What a model wrote.

    Attributes:
        text: new text, without special tokens.
        num_tokens: new tokens, without the one that ended it.
        stopped: the model ended by itself; else the limit cut it.
    """

    text: str
    num_tokens: int
    stopped: bool


def stop_tokens(model: Any, tokenizer: PreTrainedTokenizerBase, *more: int | None) -> frozenset[int]:
    """Ids that end a continuation: the tokenizer's end token, the checkpoint's, and others such as a turn's end."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    own = named if isinstance(named, list) else [named]
    return frozenset(int(index) for index in (tokenizer.eos_token_id, *own, *more) if isinstance(index, int))


def position_limit(model: Any) -> int | None:
    """Tokens that the model has positions for, a tuned prompt taken off; None when its configuration does not say."""
    limit = positions_of(model.config.get_text_config().to_dict())
    adapter = getattr(model, "active_peft_config", None)
    taken = getattr(adapter, "num_virtual_tokens", None) or 0
    return None if limit is None else limit - taken


def continue_prompts(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    stop_ids: Collection[int],
    max_batch_tokens: int = 8_192,
    write: Callable[[str], None] | None = None,
) -> list[Continuation]:
    """Let a causal language model in eval mode write on behind N prompts of token ids; N continuations in their order.

    Prompts of about one length run together, padded on the left. The same prompts, decoding and versions give the same
    samples; torch's global generator is left as it was.

    Args:
        stop_ids: tokens that end a continuation.
        max_batch_tokens: of prompts and new tokens together, padding included.
        write: called with each new piece of text, for one prompt and one beam; else never.

    Raises:
        ValueError: a prompt is empty, or fills all positions of the model.
    """
    limit = position_limit(model)
    for prompt in prompts:
        if not prompt or (limit is not None and len(prompt) >= limit):
            raise ValueError(f"a prompt of {len(prompt)} tokens; the model has positions for {limit}")
    streams = write is not None and len(prompts) == 1 and decoding.num_beams == 1
    found: dict[int, Continuation] = {}
    batches = batched(prompts, decoding, max_batch_tokens, limit=limit, padded=not _has_prompt(model))
    for number, rows in enumerate(batches):
        room = min([decoding.max_new_tokens, *(limit - len(prompts[row]) for row in rows if limit is not None)])
        config = decoding.generation_config(stop_ids=stop_ids, pad_id=pad_id(tokenizer), max_new_tokens=room)
        texts = [NewText(tokenizer, prompts[row]) for row in rows]
        streamer = Pieces(texts[0], write) if streams and write is not None else None
        batch = new_ids(model, [prompts[row] for row in rows], config, seed=(decoding.seed, number), streamer=streamer)
        for row, text, ids in zip(rows, texts, batch, strict=True):
            found[row] = continuation(text, ids, stop_ids)
    return [found[row] for row in range(len(prompts))]


def sample_ids(
    model: Any,
    start: Sequence[int],
    *,
    count: int,
    max_new_tokens: int,
    stop_ids: Collection[int],
    pad_id: int,
    seed: int,
    advance: Callable[[int], None],
) -> list[list[int]]:
    """Draw `count` texts from a causal language model's own distribution: no temperature, nothing left out.

    Each is the ids of `start` and what follows, an end token included. `advance` is called with the number just drawn.
    """
    decoding = Decoding(max_new_tokens=max_new_tokens, do_sample=True, seed=seed)
    config = decoding.generation_config(stop_ids=stop_ids, pad_id=pad_id, max_new_tokens=max_new_tokens)
    found: list[list[int]] = []
    for number, first in enumerate(range(0, count, SAMPLES_AT_A_TIME)):
        size = min(SAMPLES_AT_A_TIME, count - first)
        for ids in new_ids(model, [start] * size, config, seed=(seed, number)):
            end = next((place for place, index in enumerate(ids) if index in stop_ids), len(ids) - 1)
            found.append([*start, *ids[: end + 1]])
        advance(size)
    return found


def _has_prompt(model: Any) -> bool:
    """Whether a tuned prompt stands before the input: peft puts it before the padding, where no training put it."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """What fills up a batch: the pad token, or the end token of a tokenizer that has none."""
    pad: Any = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return int(pad)


def batched(
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    max_tokens: int,
    *,
    limit: int | None = None,
    padded: bool = True,
) -> Iterator[list[int]]:
    """Rows in batches of similar length, longest first; one that comes near the limit of positions runs alone.

    With `padded` false, all prompts of a batch have one length. A single row may have more than `max_tokens`, in which
    padding, beams and new tokens count.
    """
    batch: list[int] = []
    for row in sorted(range(len(prompts)), key=lambda row: -len(prompts[row])):
        width = len(prompts[batch[0] if batch else row]) + decoding.max_new_tokens
        alone = limit is not None and len(prompts[row]) + decoding.max_new_tokens > limit
        other = not padded and bool(batch) and len(prompts[row]) != len(prompts[batch[0]])
        if batch and (alone or other or (len(batch) + 1) * width * decoding.num_beams > max_tokens):
            yield batch
            batch = []
        batch.append(row)
        if alone:
            yield batch
            batch = []
    if batch:
        yield batch


def new_ids(
    model: Any,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    seed: tuple[int, int],
    streamer: Pieces | None = None,
) -> list[list[int]]:
    """What a model writes behind the prompts of one batch, or for the sources that its encoder reads.

    What follows an end token is included, the decoder's first token is not. `seed` is that of the draws and the number
    of the batch.
    """
    has_encoder = is_encoder_decoder(model)
    side: Literal["left", "right"] = "right" if has_encoder else "left"
    rows = [torch.tensor(prompt, device=model.device) for prompt in prompts]
    ids = pad_sequence(rows, batch_first=True, padding_value=config.pad_token_id, padding_side=side)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side=side)
    with seeded(model.device, *seed), torch.inference_mode(), settings_alone(model, config), warnings.catch_warnings():
        # peft says so at every step with a tuned prompt, whose positions transformers then counts itself
        warnings.filterwarnings("ignore", message="Position ids are not supported")
        # the base runs at each token, whatever prompt or adapter is around it
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        with polled(base):
            written = model.generate(input_ids=ids, attention_mask=mask, generation_config=config, streamer=streamer)
    new: list[list[int]] = written[:, 1 if has_encoder else ids.shape[1] :].tolist()
    return new


@contextlib.contextmanager
def settings_alone(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Take the checkpoint's own generation settings away for a while: transformers fills every gap from them."""
    holders = [model, model.get_base_model()] if hasattr(model, "get_base_model") else [model]
    own = [holder.generation_config for holder in holders]
    for holder in holders:
        holder.generation_config = config
    try:
        yield
    finally:
        for holder, settings in zip(holders, own, strict=True):
            holder.generation_config = settings


@contextlib.contextmanager
def seeded(device: torch.device, seed: int, batch: int) -> Iterator[None]:
    """Seed torch for one batch; its state is put back. transformers has no generator of its own to seed."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(np.random.SeedSequence([seed, batch]).generate_state(1, np.uint64)[0]))
        yield


def continuation(text: NewText, ids: list[int], stop_ids: Collection[int]) -> Continuation:
    """What new ids say, up to the first that ends it."""
    end = next((place for place, index in enumerate(ids) if index in stop_ids), None)
    kept = ids if end is None else ids[:end]
    return Continuation(text.of(kept), len(kept), end is not None)
