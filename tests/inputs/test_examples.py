"""What trainer, probes, plan and scorer rely on, whatever goes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ftkit.data.dataset import Split
from ftkit.data.prompting import Prompting
from ftkit.inputs.documents import evaluation_sequences
from ftkit.inputs.pairs import tokenize_pairs
from ftkit.inputs.text import tokenize_texts
from ftkit.models.builtin.builtin import resolve
from ftkit.recipe.data_section import LongTexts

TEXTS = [f"row {number}: {'so ' * (number % 7)}it is" for number in range(30)]
KINDS = ("texts", "windows", "sequences", "pairs")


def tokenizer_of(family: str, **options: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve(f"builtin:tiny-{family}"), **options)


@pytest.fixture(scope="module", params=KINDS)
def examples(request: pytest.FixtureRequest) -> Any:
    if request.param == "texts":
        return tokenize_texts(tokenizer_of("bert"), TEXTS, max_length=12)
    if request.param == "windows":
        return tokenize_texts(tokenizer_of("bert"), TEXTS, max_length=12, long_texts=LongTexts("windows", 2))
    if request.param == "pairs":
        table = pa.table({"prompt": TEXTS, "completion": TEXTS[::-1]})
        split = Split("validation", table, "made up")
        return tokenize_pairs(tokenizer_of("t5"), split, max_length=12, max_target_length=8).pairs
    split = Split("validation", pa.table({"text": TEXTS}), "made up")
    return evaluation_sequences(tokenizer_of("gpt2"), split, Prompting("text"), max_length=12).sequences


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu"])
def test_every_example_is_in_one_batch_whatever_the_device(examples: Any, device: str) -> None:
    batches = list(examples.cut(device))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(examples)))


def test_some_examples_are_a_batch_as_they_are_among_all(examples: Any) -> None:
    rows = np.array([7, 3, 11])
    taken = examples.take(rows)
    assert len(taken) == 3
    assert taken.lengths.tolist() == examples.lengths[rows].tolist()
    assert taken.rows.tolist() == examples.rows[rows].tolist()
    own, whole = taken.arrays(np.arange(3)), examples.arrays(rows)
    assert own.keys() == whole.keys()
    for name, array in own.items():
        np.testing.assert_array_equal(array, whole[name])


def test_a_batch_is_as_wide_as_its_longest_example_and_the_mask_counts_the_tokens(examples: Any) -> None:
    rows = np.arange(len(examples))
    arrays, lengths = examples.arrays(rows), examples.lengths.reshape(len(examples), -1)
    assert arrays["input_ids"].shape == (len(rows), lengths[:, 0].max())
    assert arrays["attention_mask"].sum(axis=1).tolist() == lengths[:, 0].tolist()


@pytest.mark.parametrize("examples", [kind for kind in KINDS if kind in ("sequences", "pairs")], indirect=True)
def test_targets_are_told_in_the_order_of_the_labels(examples: Any) -> None:
    rows = np.array([4, 0, 9])
    owners, special = examples.targets(rows)
    counts = (examples.arrays(rows)["labels"] != -100).sum(axis=1)
    assert owners.tolist() == np.repeat(rows, counts).tolist()
    assert len(special) == len(owners)


@pytest.mark.parametrize(("family", "side"), [("bert", "right"), ("gpt2", "right"), ("gpt2", "left")])
def test_texts_are_padded_as_their_tokenizer_pads(family: str, side: str) -> None:
    tokenizer = tokenizer_of(family, padding_side=side)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokens, rows = tokenize_texts(tokenizer, TEXTS, max_length=12), np.array([6, 2, 5])
    chosen = [{name: values[row] for name, values in tokens.columns.items()} for row in rows]
    padded = tokenizer.pad(chosen, return_tensors="np")
    arrays = tokens.arrays(rows)
    assert arrays.keys() == padded.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, padded[name])
