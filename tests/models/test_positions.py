"""How many tokens a model has positions for, of what it reads and of what it writes."""

from __future__ import annotations

import pytest

from ftkit.models.positions import positions_of


@pytest.mark.parametrize(
    ("config", "source", "target"),
    [
        ({"max_encoder_position_embeddings": 16_384, "max_decoder_position_embeddings": 1_024}, 16_384, 1_024),
        ({"encoder": {"max_position_embeddings": 512}, "decoder": {"n_positions": 1_024}}, 512, 1_024),
        ({"encoder": {"max_position_embeddings": 514, "pad_token_id": 1, "model_type": "roberta"}}, 512, None),
        ({"max_position_embeddings": 512}, 512, 512),
        ({"n_positions": 1_024}, 1_024, 1_024),
        ({"max_position_embeddings": -1}, None, None),
        ({}, None, None),
    ],
)
def test_each_side_has_its_own_positions(config, source, target):
    assert positions_of(config, side="source") == source
    assert positions_of(config, side="target") == target
