"""Out of memory, answered with a key and a value."""

from __future__ import annotations

import pytest
import torch

from ftkit.training.memory import Batch, advice, bytes_asked_for, is_out_of_memory, share_that_fits

GIB = 2**30


def test_torch_refusing_an_impossible_tensor_is_recognised_with_its_size():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert bytes_asked_for(caught.value) == 2**60


def test_an_accelerator_that_is_full_is_recognised_with_what_it_was_asked_for():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of ...")
    assert is_out_of_memory(error)
    assert bytes_asked_for(error) == 2.5 * GIB


def test_other_errors_are_not_taken_for_it():
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of range"))


@pytest.mark.parametrize(
    ("asked", "free", "most", "parts"),
    [(4 * GIB, 4 * GIB, 16, 2), (4 * GIB, GIB, 16, 4), (4 * GIB, 0, 16, 16), (None, 0, 16, 2), (GIB, 0, 1, 1)],
)
def test_a_batch_is_cut_until_what_was_asked_for_fits_and_once_at_least(asked, free, most, parts):
    assert share_that_fits(asked=asked, free=free, most=most) == parts


def test_the_advice_keeps_the_effective_batch_and_names_what_the_recipe_counts_in():
    counted = advice(Batch(16, 8192, 2), asked=GIB, free=GIB, checkpointing=False)
    assert "per_device_train_batch_size: 8 and training.gradient_accumulation_steps: 4" in counted
    assert "gradient_checkpointing: true" in counted
    budget = advice(Batch(None, 8192, 1), asked=GIB, free=GIB, checkpointing=True)
    assert budget == "set training.max_tokens_per_batch: 4096"
    single = advice(Batch(1, 4096, 1), asked=GIB, free=0, checkpointing=True)
    assert "data.max_length: 2048" in single
