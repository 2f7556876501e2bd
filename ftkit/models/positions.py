"""How many tokens a model has positions for, as its configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

TextSide = Literal["source", "target"]
"""Of an encoder-decoder: what its encoder reads, and what its decoder writes."""

COUNT_FROM_PADDING = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "mpnet", "data2vec-text"),
    *("longformer", "ibert", "xmod", "luke", "lilt", "layoutlmv3", "markuplm", "esm"),
)
"""Architectures whose positions start behind the id of padding. Source: create_position_ids_from_input_ids in each."""


def positions_of(config: Mapping[str, Any], *, side: TextSide = "source") -> int | None:
    """Tokens that a configuration has positions for; None when it does not say.

    Args:
        config: as in a config.json.
        side: of an encoder-decoder, whose two parts may differ (LED), or have configurations of their own.
    """
    part = "encoder" if side == "source" else "decoder"
    if isinstance(own := config.get(part), Mapping):
        return positions_of(own)
    names = (f"max_{part}_position_embeddings", "max_position_embeddings", "n_positions")
    found = next((config[name] for name in names if isinstance(config.get(name), int) and config[name] > 0), None)
    if found is None or config.get("model_type") not in COUNT_FROM_PADDING:
        return found
    # RoBERTa's positions start after the padding index, so two of its 514 are never used
    return int(found) - ((config.get("pad_token_id") or 0) + 1)
