from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.dataset import Split
from ftkit.data.prompting import Prompting
from ftkit.inputs.batching import IGNORED, flat_batch, padded_batch, token_budget_batches
from ftkit.inputs.documents import training_sequences
from ftkit.inputs.sequences import Sequences

TEXTS = ["12345", "1", "123", "1234567"]


@pytest.fixture(scope="module")
def tokenizer(tokenizer_of):
    return tokenizer_of("gpt2")


def sequences_of(tokenizer, *, max_length: int = 64, packing: bool = False) -> Sequences:
    split = Split("train", pa.table({"text": pa.array(TEXTS, pa.string())}), "a.csv")
    made = training_sequences(tokenizer, split, Prompting("text"), max_length=max_length, packing=packing)
    return made.sequences


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 80))
def test_padded_batches_stay_within_the_budget_and_hold_each_row_once(lengths, max_tokens):
    batches = list(token_budget_batches(np.array(lengths, dtype=np.int64), max_tokens=max_tokens))
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= max_tokens


def test_batches_go_from_the_longest_row_to_the_shortest():
    lengths = np.array([2, 9, 4, 4, 7])
    batches = list(token_budget_batches(lengths, max_tokens=8))
    ordered = [int(lengths[row]) for batch in batches for row in batch]
    assert ordered == sorted(lengths.tolist(), reverse=True)


def test_a_flat_batch_lays_documents_end_to_end_and_restarts_their_positions(tokenizer):
    sequences = sequences_of(tokenizer)
    batch = flat_batch(sequences, np.array([2, 0]))
    eos = tokenizer.eos_token_id
    ids = [*tokenizer("123")["input_ids"], eos, *tokenizer("12345")["input_ids"], eos]
    assert batch["input_ids"].tolist() == [ids]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 4, 5]]
    assert batch["labels"].tolist() == [[IGNORED, *ids[1:4], IGNORED, *ids[5:]]]
    assert {values.dtype for values in batch.values()} == {np.dtype(np.int64)}


def test_positions_restart_within_a_block_too(tokenizer):
    blocks = sequences_of(tokenizer, max_length=64, packing=True)
    assert len(blocks) == 1
    positions = flat_batch(blocks, np.array([0]))["position_ids"][0].tolist()
    assert positions == [position for text in TEXTS for position in range(len(text) + 1)]


def test_a_padded_batch_masks_labels_by_position_and_never_by_the_pad_id(tokenizer):
    eos = tokenizer.eos_token_id
    batch = padded_batch(sequences_of(tokenizer), np.array([1, 2]), pad_id=eos)
    one, three = tokenizer("1")["input_ids"], tokenizer("123")["input_ids"]
    assert batch["input_ids"].tolist() == [[*one, eos, eos, eos], [*three, eos]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[IGNORED, eos, IGNORED, IGNORED], [IGNORED, *three[1:], eos]]


def test_flat_and_padded_batches_have_the_same_targets(tokenizer):
    sequences = sequences_of(tokenizer, max_length=4)
    rows = np.arange(len(sequences))
    flat, padded = flat_batch(sequences, rows), padded_batch(sequences, rows, pad_id=0)
    targets = [batch["labels"][batch["labels"] != IGNORED].tolist() for batch in (flat, padded)]
    assert targets[0] == targets[1]
    assert len(targets[0]) == sequences.learnt.sum()


def test_a_block_of_several_documents_is_not_padded_since_they_would_see_one_another(tokenizer):
    with pytest.raises(ValueError, match="flat_batch"):
        padded_batch(sequences_of(tokenizer, packing=True), np.array([0]), pad_id=0)
