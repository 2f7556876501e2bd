"""Batches of an encoder-decoder without padding: all sources end to end in one row, all targets in another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ftkit.metrics.scores import IGNORED
from ftkit.models.kernels.pair_layout import Layout, lay_out

WITHOUT_PADDING = "runs_without_padding"
"""True as an attribute of a model whose layers know what to do with `FlatPairs`."""

FLAT_PAIRS = "flat_pairs"
"""Name under which `FlatPairs` travel through the forward passes of all layers: as an argument, so that they are there
again when activation checkpointing runs a layer twice."""

PADDED = {"input_ids", "inputs_embeds", "attention_mask", "decoder_input_ids", "use_cache"}
"""Inputs of a forward pass that can be laid end to end. With any other the batch stays as it is."""


@dataclass(frozen=True)
class FlatPairs:
    """Where the documents of two flat rows end.

    Attributes:
        sources: tokens of each document that the encoder reads, in order.
        targets: tokens of each document that the decoder reads.
    """

    sources: list[int]
    targets: list[int]
    _layouts: dict[tuple[bool, bool, int], Layout] = field(default_factory=dict, repr=False)

    def layout(self, *, from_targets: bool, to_sources: bool, num_heads: int) -> Layout:
        """How an attention computes, the same for all layers whose queries and keys are of the same side."""
        kind = from_targets, to_sources, num_heads
        if kind not in self._layouts:
            queries = self.targets if from_targets else self.sources
            keys = self.sources if to_sources else self.targets
            self._layouts[kind] = lay_out(queries, keys, num_heads=num_heads)
        return self._layouts[kind]


def lay_end_to_end(model: Any, inputs: dict[str, Any], labels: torch.Tensor) -> tuple[dict[str, Any], torch.Tensor]:
    """Leave out the padding of a batch of an encoder-decoder, where the model can do without.

    Labels (B, T) are -100 where nothing is learnt, and stand in `decoder_input_ids` too, shifted. What follows the last
    label of a row is padding.

    Returns:
        Inputs of one flat row of sources (1, S) and one of decoder inputs (1, T), with their `FlatPairs`, and the
        labels (1, T) in the same order; or what came in, for a model or a batch that this cannot be done with.
    """
    given = {name for name, value in inputs.items() if value is not None and value is not False}
    is_usual = given <= PADDED and "decoder_input_ids" in given and len({"input_ids", "inputs_embeds"} & given) == 1
    if not getattr(model, WITHOUT_PADDING, False) or not is_usual or labels.device.type != "cpu":
        return inputs, labels
    name = "input_ids" if "input_ids" in given else "inputs_embeds"
    states, mask = inputs[name], inputs.get("attention_mask")
    mask = torch.ones(states.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    if not _is_one_stretch_each(mask):
        return inputs, labels
    places = torch.arange(1, labels.shape[1] + 1)
    lengths = ((labels != IGNORED) * places).amax(dim=1).clamp(min=1)
    learnt = places <= lengths[:, None]
    flat = {
        name: states[mask][None],
        "decoder_input_ids": inputs["decoder_input_ids"][learnt][None],
        "use_cache": False,
        FLAT_PAIRS: FlatPairs(mask.sum(dim=1).tolist(), lengths.tolist()),
    }
    return flat, labels[learnt][None]


def _is_one_stretch_each(mask: torch.Tensor) -> bool:
    """Whether every row (B, S) is padded at its ends only: distances between its tokens are then those without it."""
    begins = mask[:, 1:] & ~mask[:, :-1]
    return bool((begins.sum(dim=1) + mask[:, 0] == 1).all())
