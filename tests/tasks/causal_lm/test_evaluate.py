"""What `ftkit eval` shows of single tokens."""

import pytest

from ftkit.models.causal import read_tokenizer
from ftkit.tasks.causal_lm.evaluate import _piece
from tests.fixtures.tiny_models import tiny


@pytest.mark.parametrize("family", ["t5", "gpt2", "llama"])
def test_tokens_shown_one_by_one_keep_their_spaces_and_special_ones_are_not_shown(family):
    tokenizer = read_tokenizer(tiny(family), trust_remote_code=False)
    text = "the old ship lies at the pier"
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert "".join(_piece(tokenizer, index) for index in ids).lstrip() == text
