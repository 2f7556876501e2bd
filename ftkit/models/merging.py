"""A LoRA adapter folded into its base: one plain model, compared with what it was made of before it counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ftkit.errors import UserError
from ftkit.interruption import STOP
from ftkit.methods.table import METHODS
from ftkit.models.builtin.tiny import no_progress_bar
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.classifier import load_classifier
from ftkit.models.reading.pretrained import read_weights
from ftkit.models.saved_lm import load_base, load_saved_lm
from ftkit.models.trial import code_failures_told

Probe = Mapping[str, Any]
"""Keyword arguments of a model."""

CPU = torch.device("cpu")
PROBE_TEXTS = ("the ship lies at the pier", "a", "Is 2 + 2 = 4? Nobody knows; ask again later.", "SALT water!")

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


class Written(NamedTuple):
    """Logits of one batch before merging, after it, and after rounding the weights too."""

    expected: torch.Tensor
    merged: torch.Tensor
    rounded: torch.Tensor


def merge_saved_lm(folder: Path, out: Path, *, dtype: torch.dtype, trust_remote_code: bool = False) -> Merged:
    """Fold a LoRA adapter into its base and write one plain checkpoint of weights in `dtype`, without tokenizer.

    A whole model is written as it is. The folder `out`, which was empty, is read back and compared on a fixed batch of
    random tokens, in float32 and on the CPU. What it says after rounding is reported, not refused: that is the
    precision asked for. What it holds after an error is of no use.

    Raises:
        UserError: it is a tuned prompt, or the merged logits are not those of base and adapter.
    """
    saved = load_saved_lm(folder, dtype=torch.float32, device=CPU, trust_remote_code=trust_remote_code)
    refuse_unmergeable(saved.method)
    model: Any = saved.model
    tokens = probe_tokens(int(model.get_input_embeddings().weight.shape[0]))
    probe = {"input_ids": tokens, "use_cache": False}
    if model.config.is_encoder_decoder:
        probe["decoder_input_ids"] = tokens.flip(0)
    written = write_merged(model, out, probe, dtype=dtype, name=str(folder))
    del saved, model
    again = load_base(Checkpoint(str(out), out), dtype=torch.float32, trust_remote_code=trust_remote_code)
    return compare(again, probe, written, dtype=dtype)


def merge_classifier(folder: Path, out: Path, *, dtype: torch.dtype, trust_remote_code: bool = False) -> Merged:
    """As `merge_saved_lm`, for a classifier; compared on a few texts, and the names of the labels stay.

    Raises:
        UserError: there is no adapter, or the merged logits are not those of base and adapter.
    """
    from transformers import AutoModelForSequenceClassification

    saved = load_classifier(folder, device=CPU, trust_remote_code=trust_remote_code)
    model: Any = saved.module.model
    if not hasattr(model, "merge_and_unload"):
        raise UserError("there is no adapter to merge: every weight was trained")
    model.config.label2id = {name: index for index, name in model.config.id2label.items()}
    with code_failures_told(model, name=str(folder), doing="asked and merged"):
        probe = dict(saved.tokenizer(list(PROBE_TEXTS), padding=True, return_tensors="pt"))
    written = write_merged(model, out, probe, dtype=dtype, name=str(folder))
    del saved, model
    again = read_weights(
        AutoModelForSequenceClassification,
        Checkpoint(str(out), out),
        what="a classifier",
        dtype=torch.float32,
        trust_remote_code=trust_remote_code,
    )
    return compare(again.model, probe, written, dtype=dtype)


def write_merged(model: Any, out: Path, probe: Probe, *, dtype: torch.dtype, name: str) -> Written:
    """Merge a model, which is called `name`, in place, cast it and write it; says what it answered at each stage.

    Raises:
        UserError: the code of its architecture or of peft fails on the way.
    """
    with code_failures_told(model, name=name, doing="asked and merged"):
        expected = answer(model, probe)
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload()
        merged = answer(model, probe)
        round_parameters(model, dtype)
        with no_progress_bar():
            model.save_pretrained(out)
        return Written(expected, merged, answer(model.float(), probe))


def compare(again: Any, probe: Probe, written: Written, *, dtype: torch.dtype) -> Merged:
    """Hold a model that was read back against what was written and what was trained.

    Raises:
        UserError: the logits differ by more than LOGIT_TOLERANCE.
    """
    found = answer(again.eval(), probe)
    largest = float(written.expected.abs().max())
    worst = max(largest_difference(written.merged, written.expected), largest_difference(found, written.rounded))
    if not worst <= LOGIT_TOLERANCE * max(1.0, largest):
        raise UserError(
            f"the merged model is not the model that was trained: its logits differ by {worst:.1e}, the largest is "
            f"{largest:.1f}, so nothing was written",
            fix="export the adapter as it is, without --merge",
        )
    rounding = 0.0 if dtype == torch.float32 else largest_difference(found, written.expected)
    return Merged(worst, rounding, largest)


def round_parameters(model: Any, dtype: torch.dtype) -> None:
    """Cast the parameters alone: `model.to(dtype)` would round the angles of rotary positions, which are not saved."""
    for parameter in model.parameters():
        STOP.poll()
        parameter.data = parameter.data.to(dtype)


def refuse_unmergeable(method: str) -> None:
    """Refuse what cannot be folded into weights.

    Raises:
        UserError: it is vectors before the input.
    """
    what = METHODS[method].unmergeable
    if what:
        raise UserError(
            f"{what} cannot be merged: it is vectors before the input, which no weight of the model can hold",
            fix="export it without --merge and load it with peft",
        )


def probe_tokens(vocabulary: int) -> torch.Tensor:
    """The fixed batch of random tokens (NUM_TEXTS, NUM_TOKENS) on which models are compared."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocabulary, (NUM_TEXTS, NUM_TOKENS), generator=generator)


def answer(model: Any, probe: Probe) -> torch.Tensor:
    """Logits of a model's inputs, in float32."""
    with torch.inference_mode():
        logits: torch.Tensor = model(**probe).logits
    return logits.float()


def largest_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference of two tensors; NaN where one of them holds it."""
    return float((found - expected).abs().max())
