"""A LoRA adapter folded into its base: one plain model, compared with what it was made of before it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from ftkit.errors import UserError
from ftkit.models.causal import load_causal_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.saved_lm import load_saved_lm

NUM_TEXTS, NUM_TOKENS = 4, 32
LOGIT_TOLERANCE = 1e-4
"""Largest difference of merged logits, relative to the largest logit where that is above 1."""


class Merged(NamedTuple):
    """How far the logits of a merged model are from those of base and adapter: the largest over a fixed batch.

    Attributes:
        difference: in float32.
        rounding: after rounding the weights to the precision that they were written in; 0 for float32.
        largest: largest logit, to compare with.
    """

    difference: float
    rounding: float
    largest: float


def merge_saved_lm(folder: Path, out: Path, *, dtype: torch.dtype, trust_remote_code: bool = False) -> Merged:
    """Fold a LoRA adapter into its base and write one plain checkpoint, without tokenizer.

    The folder is read back and compared on a fixed batch of random tokens, in float32 and on the CPU. What it says
    after rounding is reported, not refused: that is the precision asked for.

    Args:
        folder: an adapter of peft on a causal language model.
        out: an empty folder; what it holds after an error is of no use.
        dtype: of the weights written.
        trust_remote_code: allow the base's own Python code.

    Raises:
        UserError: there is no LoRA adapter, or the merged logits are not those of base and adapter.
    """
    saved = load_saved_lm(folder, dtype=torch.float32, device=torch.device("cpu"), trust_remote_code=trust_remote_code)
    refuse_unmergeable(saved.method)
    adapted: Any = saved.model
    probe = probe_tokens(int(adapted.get_input_embeddings().weight.shape[0]))
    expected = logits_of(adapted, probe)
    merged: Any = adapted.merge_and_unload()
    difference = largest_difference(logits_of(merged, probe), expected)
    round_parameters(merged, dtype)
    merged.save_pretrained(out)
    rounded = logits_of(merged.float(), probe)
    again: Any = load_causal_lm(Checkpoint(str(out), out), dtype=torch.float32, trust_remote_code=trust_remote_code)
    found = logits_of(again.eval(), probe)
    largest = float(expected.abs().max())
    worst = max(difference, largest_difference(found, rounded))
    if not worst <= LOGIT_TOLERANCE * max(1.0, largest):
        raise UserError(
            f"the merged model is not the model that was trained: its logits differ by {worst:.1e}, the largest is "
            f"{largest:.1f}, so nothing was written",
            fix="export the adapter as it is, without --merge",
        )
    return Merged(worst, 0.0 if dtype == torch.float32 else largest_difference(found, expected), largest)


def round_parameters(model: Any, dtype: torch.dtype) -> None:
    """Cast the parameters alone: `model.to(dtype)` would round the angles of rotary positions, which are not saved."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def refuse_unmergeable(method: str) -> None:
    """Refuse what has nothing to be folded into weights.

    Raises:
        UserError: the method is prompt tuning, or there is no adapter.
    """
    if method == "prompt_tuning":
        raise UserError(
            "a tuned prompt cannot be merged: it is vectors before the input, which no weight of the model can hold",
            fix="export it without --merge and load it with peft",
        )
    if method != "lora":
        raise UserError("there is no adapter to merge: every weight was trained")


def probe_tokens(vocabulary: int) -> torch.Tensor:
    """The fixed batch of random tokens (NUM_TEXTS, NUM_TOKENS) on which models are compared."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocabulary, (NUM_TEXTS, NUM_TOKENS), generator=generator)


def logits_of(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Logits (B, T, V) in float32, without a cache."""
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits.float()


def largest_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference of two tensors; NaN where one of them holds it."""
    return float((found - expected).abs().max())
