from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from ftkit.models.kernels import blockwise_attention as room
from ftkit.models.kernels.blockwise_attention import blockwise_attention
from ftkit.models.kernels.fast_dropout import DropoutMask

LENGTHS = [5, 1, 23, 16, 40]
NUM_TOKENS = sum(LENGTHS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(room, "BLOCK", 16)
    room._future.cache_clear()
    yield
    room._future.cache_clear()


def made_up(*, heads=4, groups=4, width=8, value_width=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(6)
    shapes = [(NUM_TOKENS, heads, width), (NUM_TOKENS, groups, width), (NUM_TOKENS, groups, value_width)]
    # as layers give them: heads side by side in a row of the projection's output
    return [torch.randn(1, *shape, generator=generator).to(dtype).transpose(1, 2).requires_grad_() for shape in shapes]


def document_by_document(query, key, value, *, masks, scaling=None):
    outputs, start = [], 0
    for document, length in enumerate(LENGTHS):
        part = [states[:, :, start : start + length] for states in (query, key, value)]
        mask = masks.get(document)
        outputs.append(
            scaled_dot_product_attention(
                *part, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
            )
        )
        start += length
    return torch.cat(outputs, dim=2).transpose(1, 2)


def window(length, size):
    index = torch.arange(length)
    return ((index[None] <= index[:, None]) & (index[None] > index[:, None] - size))[None, None]


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ({}, {}),
        ({"groups": 2}, {}),
        ({"groups": 1}, {"scaling": 0.7}),
        ({"value_width": 6}, {}),
        ({}, {"masks": {2: window(23, 4), 4: window(40, 9)}}),
        ({"groups": 2}, {"masks": {4: window(40, 20)}}),
    ],
)
def test_outputs_and_gradients_are_those_of_each_document_by_itself(shapes, options):
    options = {"masks": {}} | options
    states = made_up(**shapes)
    before = [one.detach().clone() for one in states]
    found = blockwise_attention(*states, lengths=LENGTHS, **options)
    expected = document_by_document(*states, **options)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    arriving = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, states, arriving), torch.autograd.grad(expected, states, arriving), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(one, other) for one, other in zip(states, before, strict=True))


def test_states_that_lie_contiguous_in_memory_are_not_changed_either():
    states = [torch.randn(1, 2, 9, 4) for _ in range(3)]
    before = [one.clone() for one in states]
    blockwise_attention(*states, lengths=[9], masks={})
    assert all(torch.equal(one, other) for one, other in zip(states, before, strict=True))


def test_in_bfloat16_the_result_is_that_of_float32_but_for_rounding():
    exact = made_up()
    rounded = [states.detach().bfloat16().requires_grad_() for states in exact]
    arriving = torch.randn(1, NUM_TOKENS, 4, 8)
    results = []
    for states in (exact, rounded):
        output = blockwise_attention(*states, lengths=LENGTHS, masks={})
        assert output.dtype == states[0].dtype
        results.append([output.float(), *torch.autograd.grad(output, states, arriving.to(output.dtype))])
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() / one.norm() < 0.02


def test_with_dropout_the_weights_are_dropped_after_the_softmax():
    query, key, value = made_up()
    torch.manual_seed(2)
    found = blockwise_attention(query, key, value, lengths=[NUM_TOKENS], masks={}, dropout=0.3)
    torch.manual_seed(2)
    mask = DropoutMask(0.3)
    kept = torch.zeros(4, NUM_TOKENS, NUM_TOKENS)
    for start in range(0, NUM_TOKENS, 16):
        end = min(start + 16, NUM_TOKENS)
        kept[:, start:end, :end] = mask.draw((4, end - start, end), torch.float32)
    future = torch.ones(NUM_TOKENS, NUM_TOKENS, dtype=torch.bool).triu(1)
    products = (query[0] @ key[0].transpose(1, 2) * 8**-0.5).masked_fill(future, float("-inf"))
    expected = (torch.softmax(products, -1) * kept * mask.scale @ value[0]).transpose(0, 1)[None]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    states, arriving = [query, key, value], torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, states, arriving), torch.autograd.grad(expected, states, arriving), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class LargestTensor(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.num_elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        if isinstance(result, torch.Tensor):
            self.num_elements = max(self.num_elements, result.numel())
        return result


def test_no_more_weights_are_held_than_those_of_a_block():
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(1, 2, 500, 4, generator=generator).requires_grad_() for _ in range(3)]
    with LargestTensor() as watched:
        blockwise_attention(*states, lengths=[500], masks={}, dropout=0.1).sum().backward()
    assert watched.num_elements <= 2 * 16 * 500
