"""Language models, decoder-only or with an encoder, that compute their loss without holding their logits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ftkit.metrics.scores import IGNORED
from ftkit.models.kernels.chunked_cross_entropy import (
    OutputLayer,
    labelled_positions,
    summed_cross_entropy,
    token_losses,
)
from ftkit.models.kernels.flat_pairs import FLAT_PAIRS, lay_end_to_end
from ftkit.models.scoring import evaluating

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

LOGITS_AT_A_TIME = 2**24
"""Logits of a chunk: 333 positions of GPT-2's vocabulary, 32 MiB in bfloat16. With fewer, the output layer's weights
are read, and laid out for the products, more often than need be."""

IN_CHUNKS = "computes_loss_in_chunks"
"""True as an attribute of a model whose forward pass was replaced."""


def compute_loss_in_chunks(model: PreTrainedModel | PeftModel, *, label_smoothing: float = 0.0) -> bool:
    """Let a language model compute its loss from the hidden states of labelled positions, a chunk at a time.

    Replaces `forward` of this one object. Called with labels, and with num_items_in_batch or without, it returns the
    same loss as before, in float32 and with gradients for all that is trained, but no logits: neither the logits of all
    positions nor their gradients are ever held. Without labels it does what it did.

    An encoder-decoder predicts label t at position t of its decoder, which reads the labels shifted as the model does
    it itself, and keeps no cache. Its loss, too, is divided by num_items_in_batch where that is given, which its own
    may not be.

    With `token_scores=True` beside the labels there are no gradients, and the output has two entries more, each with
    one number a labelled position, in row-major order: `token_nll` (N,) in nats and `token_correct` (N,), whether the
    label had the largest logit.

    With `label_smoothing`, 0 to 1, that share of each target's probability is spread over the vocabulary in training
    mode; in eval mode the loss is plain.

    Adapters are attached before, not after. Returns False, and leaves the model as it was, where the loss of a small
    made-up batch is not the model's own: an architecture that does more between output layer and loss than is known
    here.
    """
    base: Any = cast("Any", model).get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(base, IN_CHUNKS, False):
        return True
    own = base.forward
    chunked = _chunked_forward(base, own, label_smoothing)
    if not _give_the_same_loss(base, own, chunked):
        return False
    base.forward = chunked
    setattr(base, IN_CHUNKS, True)
    return True


def logits_head(base: Any) -> OutputLayer:
    """What a model does from the output layer's input to the logits: that layer, then what config or buffers name.

    Source:
        transformers' gemma2 and gemma3 (final_logit_softcapping), granite (logits_scaling), cohere (logit_scale), bart
        and its kin (final_logits_bias).
    """
    config, layer = base.config.get_text_config(), base.get_output_embeddings()
    softcap = getattr(config, "final_logit_softcapping", None)
    factor = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    bias = getattr(base, "final_logits_bias", None)
    if bias is not None and not bias.any():
        # as nearly every checkpoint has it: a pass over the logits saved, and their type kept
        bias = None
    if bias is None and factor == 1.0 and softcap is None:
        return cast("OutputLayer", layer)

    def head(hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = layer(hidden)
        if bias is not None:
            logits = logits + bias
        if factor != 1.0:
            logits = logits * factor
        return logits if softcap is None else torch.tanh(logits / softcap) * softcap

    return head


def _chunked_forward(base: Any, own: Callable[..., Any], label_smoothing: float) -> Callable[..., Any]:
    chunk_size = max(1, LOGITS_AT_A_TIME // base.config.get_text_config().vocab_size)
    has_encoder = bool(base.config.is_encoder_decoder)

    # the signature stays: Trainer and generate read from it which inputs the model takes
    @functools.wraps(own)
    def forward(*arguments: Any, token_scores: bool = False, **inputs: Any) -> Any:
        is_special = arguments or inputs.get("shift_labels") is not None or inputs.get("return_dict") is False
        if inputs.get("labels") is None or is_special:
            return own(*arguments, **inputs)
        labels, num_items = inputs.pop("labels"), inputs.pop("num_items_in_batch", None)
        # peft passes options as None that not every decoder knows
        inputs = {
            name: value
            for name, value in inputs.items()
            if value is not None and name not in ("logits_to_keep", "return_dict")
        }
        if has_encoder:
            inputs |= {"use_cache": False} | _decoder_inputs(base, inputs, labels)
            inputs, labels = lay_end_to_end(base, inputs, labels)
        layer = base.get_output_embeddings()
        output, hidden = _without_logits(own, layer, inputs)
        labelled, head = labelled_positions(labels, shifted=not has_encoder), logits_head(base)
        losses = token_losses(head, hidden, labelled, chunk_size=chunk_size) if token_scores else None
        if losses is not None:
            total = losses.nll.sum()
        else:
            smoothing = label_smoothing if base.training else 0.0
            total = summed_cross_entropy(
                layer, head, hidden, labelled, chunk_size=chunk_size, label_smoothing=smoothing
            )
        num_items = len(labelled.targets) if num_items is None else num_items
        loss = total / (num_items.to(total.device) if isinstance(num_items, torch.Tensor) else num_items)
        # states of a flat row would be taken for those of the batch
        kept = {} if FLAT_PAIRS in inputs else {name: value for name, value in output.items() if name != "logits"}
        output = type(output)(loss=loss, **kept)
        if losses is not None:
            output["token_nll"], output["token_correct"] = losses
        return output

    return forward


def _decoder_inputs(base: Any, inputs: dict[str, Any], labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the decoder reads where the caller does not say: the labels shifted to the right, as the model does it."""
    if "decoder_input_ids" in inputs or "decoder_inputs_embeds" in inputs:
        return {}
    return {"decoder_input_ids": base.prepare_decoder_input_ids_from_labels(labels=labels)}


def _without_logits(own: Callable[..., Any], layer: nn.Module, inputs: dict[str, Any]) -> tuple[Any, torch.Tensor]:
    """The output of a forward pass whose output layer is given no positions, and the states (B x T, D) it would read.

    Whatever lies between the decoder and the output layer, such as T5's scaling, is left to the model.
    """
    states: list[torch.Tensor] = []

    def keep(_layer: nn.Module, arguments: tuple[torch.Tensor]) -> torch.Tensor:
        states.append(arguments[0])
        return arguments[0][:, :0]

    hook = layer.register_forward_pre_hook(keep)
    try:
        output = own(**inputs)
    finally:
        hook.remove()
    (hidden,) = states
    return output, hidden.flatten(0, 1)


def made_up_batch(base: Any) -> dict[str, Any]:
    """Inputs and labels (2, 12) on which a language model is asked for its loss before and after a change."""
    device = next(base.parameters()).device
    generator = torch.Generator().manual_seed(0)
    vocab_size = base.config.get_text_config().vocab_size
    ids = torch.randint(vocab_size, (2, 12), generator=generator)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) < 0.3, IGNORED)
    batch = {"input_ids": ids.to(device), "labels": labels.to(device), "use_cache": False}
    if base.config.is_encoder_decoder:
        batch["attention_mask"] = (torch.arange(12) < torch.tensor([[12], [7]])).to(device)
    return batch


def _give_the_same_loss(base: Any, own: Callable[..., Any], chunked: Callable[..., Any]) -> bool:
    batch = made_up_batch(base)
    try:
        with evaluating(base), torch.no_grad():
            expected, found = (float(forward(**batch).loss) for forward in (own, chunked))
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError):
        # foreign code may fail in any way when it is not called as it expects
        return False
    # in bfloat16 a logit may round to either side, depending on how many positions are multiplied at once, and
    # encoder-decoders round their loss as well
    steps = 1.0 if base.config.is_encoder_decoder else 0.25
    precision = max(1e-5, torch.finfo(next(base.parameters()).dtype).eps * steps)
    return abs(found - expected) <= precision * abs(expected)
