"""Attention that stays within each document of a flat row, computed document by document and never as one big mask."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ftkit.models.kernels.blockwise_attention import blockwise_attention
from ftkit.models.scoring import evaluating

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

DOCUMENTS = "ftkit_documents"
"""Name of the attention for `attn_implementation`, once `register_document_attention` has run."""

SHORT = 512
"""Mean length in tokens up to which training in bfloat16 on a CPU is faster without torch's fused kernel: its backward
pass costs about as much for a short document as for a long one."""

MaskFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(batch, head, query, key) indices, broadcast together -> bool: may this query look at this key."""


@dataclass(frozen=True)
class Documents:
    """Where the documents of a flat row end; takes the place of the attention mask on its way through the layers.

    As an argument of the layers it reaches every attention, and again when activation checkpointing runs a layer twice.

    Attributes:
        lengths: tokens of each document, in order; their sum is T.
        masks: document -> bool mask (1, 1, L, L), for those that a causal mask alone does not describe (longer than
            the sliding window of the layer).
    """

    lengths: list[int]
    masks: dict[int, torch.Tensor] = field(default_factory=dict)


def register_document_attention() -> None:
    """Make `attn_implementation="ftkit_documents"` known to transformers; calling it again does no harm."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(DOCUMENTS, document_attention)
    AttentionMaskInterface.register(DOCUMENTS, document_mask)


def document_mask(
    *, mask_function: MaskFunction, device: torch.device | str, local_size: int | None = None, **asked: Any
) -> Documents | torch.Tensor | None:
    """The mask of a layer type, once a forward pass: `Documents` for a flat row, else what sdpa would be given.

    transformers recognises a flat row (1, T) by its restarting position_ids, where neither attention_mask nor a cache
    is given, and hands their meaning over inside `mask_function`. A document begins wherever a token may not look at
    the one before it, so T - 1 entries of the mask are enough to find all.

    Args:
        mask_function: what transformers has put together for this layer type.
        local_size: tokens that a query may look back at, itself included, where the layer type has such a window.
        asked: the rest of what sdpa_mask takes.

    Source:
        transformers.masking_utils: sdpa_mask, find_packed_sequence_indices, packed_sequence_compatibility_function.
    """
    if _is_flat_row(**asked):
        documents = _find_documents(mask_function, asked["q_length"], window=local_size, device=device)
        if documents is not None:
            return documents
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(mask_function=mask_function, local_size=local_size, device=device, **asked)


def _is_flat_row(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: int = 0,
    attention_mask: torch.Tensor | None = None,
    allow_is_causal_skip: bool = True,
    use_vmap: bool = False,
    **_others: Any,
) -> bool:
    """Whether nothing is padded or cached, and the mask is more than causal but no pattern of the model's own."""
    is_row = batch_size == 1 and q_length == kv_length > 1 and attention_mask is None and not use_vmap
    # with a static cache the offset is a tensor
    return is_row and not allow_is_causal_skip and isinstance(q_offset, int) and q_offset == kv_offset == 0


def _find_documents(
    mask_function: MaskFunction, num_tokens: int, *, window: int | None, device: torch.device | str
) -> Documents | None:
    """The documents of a flat row; None when a token may look at the next one, or not even at itself."""
    index = torch.arange(num_tokens, device=device)
    before, after = index[:-1], index[1:]
    looks_back = _entries(mask_function, after, before)
    is_causal = _entries(mask_function, index, index).all() & ~_entries(mask_function, before, after).any()
    if not is_causal or (window is not None and window < 2):
        return None
    begins = [0, *(torch.nonzero(~looks_back).flatten() + 1).tolist(), num_tokens]
    lengths = [end - begin for begin, end in itertools.pairwise(begins)]
    masks = {}
    for document, length in enumerate(lengths):
        if window is not None and length > window:
            inside = index[begins[document] : begins[document + 1]]
            masks[document] = _entries(mask_function, inside[:, None], inside[None, :])[None, None]
    return Documents(lengths, masks)


def _entries(mask_function: MaskFunction, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The mask at pairs of a query and a key of the first row, broadcast together."""
    first = torch.zeros((), dtype=torch.long, device=queries.device)
    return mask_function(first, first, queries, keys).expand((queries + keys).shape)


def document_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Documents | torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each document to itself where the mask is `Documents`, else what sdpa does.

    Query (B, H, T, D), key and value (B, H or fewer, T, D) -> (B, T, H, D), and None for the weights, which are never
    held.

    Args:
        scaling: factor of the products; None: 1 / sqrt(D).
        softcap: products are squeezed into (-softcap, softcap) by tanh.
        options: the rest of what the layer passes on.
    """
    attend = _sdpa() if softcap is None else functools.partial(_softcapped_attention, softcap=softcap)
    if not isinstance(attention_mask, Documents):
        return attend(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options)
    lengths, masks = attention_mask.lengths, attention_mask.masks
    if softcap is None and _is_faster_in_blocks(query, lengths, dropout):
        if torch.is_autocast_enabled("cpu"):
            # norms and rotations of float32 weights give float32; the fused kernel would be cast likewise
            query, key, value = (states.to(torch.get_autocast_dtype("cpu")) for states in (query, key, value))
        settings: dict[str, Any] = {"lengths": lengths, "masks": masks, "scaling": scaling, "dropout": dropout}
        return blockwise_attention(query, key, value, **settings), None
    # split and not slices: its gradient is one concatenation, where each slice's would be a row of zeros of full length
    parts = zip(*(torch.split(states, lengths, dim=2) for states in (query, key, value)), strict=True)
    outputs = [
        attend(module, *part, masks.get(document), dropout=dropout, scaling=scaling, **options)[0]
        for document, part in enumerate(parts)
    ]
    return torch.cat(outputs, dim=1), None


def _is_faster_in_blocks(query: torch.Tensor, lengths: list[int], dropout: float) -> bool:
    if query.device.type != "cpu":
        return False
    is_training = torch.is_grad_enabled() and query.requires_grad
    is_short = query.shape[2] <= SHORT * len(lengths)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    return dropout > 0 or (is_training and is_short and dtype == torch.bfloat16)


def _sdpa() -> Callable[..., tuple[torch.Tensor, None]]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward


def _softcapped_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """As sdpa takes it, causal where there is no mask, but in plain tensor operations: no fused kernel soft-caps.

    Source:
        Gemma Team 2024 (Gemma 2), section 2.
    """
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    if mask is None:
        num_queries, num_keys = query.shape[2], key.shape[2]
        mask = torch.ones(num_queries, num_keys, dtype=torch.bool, device=query.device)
        mask = mask.tril(diagonal=num_keys - num_queries)
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, torch.finfo(query.dtype).min)
    return eager_attention_forward(module, query, key, value, mask, **options)[0], None


def use_document_attention(model: PreTrainedModel | PeftModel) -> bool:
    """Let a model keep its attention within each document of a flat row, as `document_attention` does it.

    Only where its own is PyTorch's, and where a made-up text gets the logits that it got before; else the model stays
    as it was. Returns which.
    """
    base: Any = cast("Any", model).get_base_model() if hasattr(model, "get_base_model") else model
    if base.config._attn_implementation != "sdpa" or not base._can_set_attn_implementation():
        return False
    register_document_attention()
    ids = torch.randint(_num_tokens(base), (1, 12), generator=torch.Generator().manual_seed(0))
    found = []
    for attention in ("sdpa", DOCUMENTS):
        base.set_attn_implementation(attention)
        found.append(_logits(base, input_ids=ids))
    if _agree(*found):
        return True
    base.set_attn_implementation("sdpa")
    return False


def packing_is_exact(model: PreTrainedModel | PeftModel) -> bool:
    """Whether two documents in one flat row get the logits that each gets alone.

    Tried with made-up documents, in eval mode, with the attention that the model is set to. Architectures that ignore
    restarting positions, carry a state from token to token, or put a prompt before every row do not pass: all logits
    agree within 1e-4 of the largest one (in bfloat16 or float16 within 4 of its steps).
    """
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return False
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(_num_tokens(model), (1, length), generator=generator) for length in (5, 9)]
    positions = torch.cat([torch.arange(row.shape[1]) for row in rows])[None]
    alone = [_logits(model, input_ids=row) for row in rows]
    packed = _logits(model, input_ids=torch.cat(rows, dim=1), position_ids=positions)
    return _agree(None if any(row is None for row in alone) else torch.cat(cast("Any", alone), dim=1), packed)


def _num_tokens(model: Any) -> int:
    return len(model.get_input_embeddings().weight)


def _logits(model: Any, **inputs: torch.Tensor) -> torch.Tensor | None:
    """Logits (B, T, V) in eval mode, with a cache where the model as it is set keeps one, as it will while it trains.

    None from code that fails on a kind of input that it was not written for.
    """
    device = next(model.parameters()).device
    try:
        with evaluating(model), torch.inference_mode():
            given = {name: values.to(device) for name, values in inputs.items()}
            logits: torch.Tensor = model(**given).logits
            return logits
    except Exception:
        # foreign code fails in any way
        return None


def _agree(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None or one.shape != other.shape:
        return False
    precision = max(1e-4, 4 * torch.finfo(one.dtype).eps)
    return bool((one.float() - other.float()).abs().max() <= precision * one.abs().max())
