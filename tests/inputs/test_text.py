"""Texts that are longer than an encoder reads at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftkit.errors import UserError
from ftkit.inputs.text import Frame, tokenize_texts
from ftkit.recipe.data_section import LongTexts
from tests.inputs.test_examples import tokenizer_of

TEXTS = ["the ship", "", "some rope lies near the pier " * 9, "a", "salt water " * 5 + "naïve café 日本"]


@pytest.fixture(scope="module", params=["bert", "roberta", "gpt2"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return tokenizer_of(request.param)


@pytest.mark.parametrize(("max_length", "stride"), [(8, 0), (16, 5), (64, 8)])
def test_windows_are_those_of_the_fast_tokenizer_and_as_many_as_are_foretold(
    tokenizer: Any, max_length: int, stride: int
) -> None:
    how = LongTexts("windows", stride)
    found = tokenize_texts(tokenizer, TEXTS, max_length=max_length, long_texts=how)
    theirs = tokenizer(TEXTS, truncation=True, max_length=max_length, stride=stride, return_overflowing_tokens=True)
    for name, values in found.columns.items():
        assert values == theirs[name]
    assert found.rows.tolist() == theirs["overflow_to_sample_mapping"]
    whole = np.array([len(ids) for ids in tokenizer(TEXTS)["input_ids"]])
    foretold = how.num_windows(whole, max_length=max_length, num_special=sum(Frame.of(tokenizer)))
    assert found.counts.tolist() == foretold.tolist()
    assert found.num_truncated == (whole > max_length).sum()
    some = found.take_texts(np.array([4, 0]))
    assert some.scored_rows.tolist() == [4, 0]
    assert some.counts.tolist() == foretold[[4, 0]].tolist()


def test_of_a_long_text_a_quarter_is_its_beginning_and_the_rest_its_end(tokenizer: Any) -> None:
    found = tokenize_texts(tokenizer, TEXTS, max_length=16, long_texts=LongTexts("head_and_tail"))
    before, behind = Frame.of(tokenizer)
    room = 16 - before - behind
    for kept, ids in zip(found.columns["input_ids"], tokenizer(TEXTS)["input_ids"], strict=True):
        head, end = before + room * 128 // 510, len(ids) - behind
        tail = end - (room - room * 128 // 510)
        assert kept == (ids if len(ids) <= 16 else [*ids[:head], *ids[tail:]])
    assert LongTexts("head_and_tail").parts(2_000, room=510) == [(0, 128), (2_000 - 382, 2_000)]


def test_windows_of_a_pair_and_windows_without_anything_new_are_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="is for single texts"):
        tokenize_texts(tokenizer, TEXTS, TEXTS, max_length=16, long_texts=LongTexts("windows", 4))
    with pytest.raises(UserError, match=r"set data\.window_stride to less"):
        tokenize_texts(tokenizer, TEXTS, max_length=8, long_texts=LongTexts("windows", 8))
