from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ftkit.models.kernels.pair_attention import pair_attention
from ftkit.models.kernels.pair_layout import SPARE, group_documents, lay_out

HEADS, WIDTH = 3, 4
QUERIES, KEYS = [5, 1, 9, 5, 70], [2, 6, 9, 5, 80]
lengths = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=12)


@given(lengths)
def test_every_document_is_in_one_group_and_little_of_a_group_is_padding(pairs):
    queries, keys = ([pair[side] for pair in pairs] for side in (0, 1))
    groups = list(group_documents(queries, keys))
    assert sorted(document for group in groups for document in group) == list(range(len(pairs)))
    for group in groups:
        padded = len(group) * max(queries[one] for one in group) * max(keys[one] for one in group)
        assert padded - sum(queries[one] * keys[one] for one in group) <= SPARE * (len(group) - 1)


def test_short_documents_go_together_and_a_long_one_alone():
    assert list(group_documents([20] * 40, [22] * 40)) == [list(range(40))]
    assert list(group_documents([20, 500, 20], [20, 500, 20])) == [[1], [0, 2]]


@given(lengths)
def test_from_the_flat_order_to_the_groups_and_back_again(pairs):
    queries, keys = ([pair[side] for pair in pairs] for side in (0, 1))
    layout = lay_out(queries, keys, num_heads=HEADS)
    for order, back, counts in ((layout.queries, layout.from_queries, queries), (layout.keys, layout.from_keys, keys)):
        num_rows = sum(counts) * HEADS
        assert torch.equal(order[back], torch.arange(num_rows))
        assert int((order == num_rows).sum()) == len(order) - num_rows, "all others are padding"


def expected(query, key, value, bias):
    """One document and one head at a time, as it is written in the paper."""
    outputs, first_query, first_key = [], 0, 0
    for num_queries, num_keys in zip(QUERIES, KEYS, strict=True):
        rows, seen = slice(first_query, first_query + num_queries), slice(first_key, first_key + num_keys)
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH, (head + 1) * WIDTH)
            products = query[rows, part] @ key[seen, part].T
            if bias is not None:
                products = products + bias[head, :num_queries, :num_keys]
            heads.append(products.softmax(-1) @ value[seen, part])
        outputs.append(torch.cat(heads, dim=1))
        first_query, first_key = rows.stop, seen.stop
    return torch.cat(outputs)


def make_states(*, biased, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    shapes = [(sum(QUERIES), HEADS * WIDTH), (sum(KEYS), HEADS * WIDTH), (sum(KEYS), HEADS * WIDTH)]
    shapes += [(HEADS, 90, 90)] if biased else []
    states = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    return states if biased else [*states, None]


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("biased", [False, True])
def test_each_document_attends_to_its_own(biased, dtype, precision):
    states = make_states(biased=biased, dtype=dtype)
    found = pair_attention(*states, layout=lay_out(QUERIES, KEYS, num_heads=HEADS))
    double = [None if one is None else one.detach().double().requires_grad_() for one in states]
    wanted = expected(*double)
    torch.testing.assert_close(found.double(), wanted, rtol=precision, atol=precision)
    arriving = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    inputs = [one for one in states if one is not None]
    gradients = torch.autograd.grad(found, inputs, arriving.to(dtype))
    others = torch.autograd.grad(wanted, [one for one in double if one is not None], arriving.double())
    for gradient, other in zip(gradients, others, strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), other, rtol=2 * precision, atol=4 * precision)


def test_the_future_stays_hidden_where_the_bias_is_minus_infinity():
    states = [rows.detach()[: sum(QUERIES)].requires_grad_() for rows in make_states(biased=False)[:3]]
    bias = torch.full((HEADS, 90, 90), float("-inf")).triu_(1).requires_grad_()
    layout = lay_out(QUERIES, QUERIES, num_heads=HEADS)
    found = pair_attention(*states, bias, layout=layout)
    torch.testing.assert_close(found[0], states[2][0], msg="a first token sees itself alone")
    last_of_first = QUERIES[0] - 1
    gradients = torch.autograd.grad(found[:last_of_first].sum(), [*states[1:], bias])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not gradients[1][last_of_first:].any()
    assert gradients[1][:last_of_first].all()


def test_dropped_weights_are_dropped_in_the_gradients_too():
    query, key, value, bias = (one.detach().double() for one in make_states(biased=True))
    layout = lay_out(QUERIES, KEYS, num_heads=HEADS)

    def attend(*states):
        torch.manual_seed(3)
        return pair_attention(*states, layout=layout, dropout=0.4)

    assert not torch.allclose(attend(query, key, value, bias), expected(query, key, value, bias))
    inputs = [one.requires_grad_() for one in (query, key, value)]
    torch.autograd.gradcheck(lambda *states: attend(*states, bias), inputs, fast_mode=True, atol=1e-4)


def test_on_average_dropout_changes_nothing():
    states = [None if one is None else one.detach() for one in make_states(biased=True)]
    layout = lay_out(QUERIES, KEYS, num_heads=HEADS)
    torch.manual_seed(4)
    draws = torch.stack([pair_attention(*states, layout=layout, dropout=0.3) for _ in range(400)])
    errors = (draws.mean(dim=0) - expected(*states)).abs() / draws.std(dim=0).clamp(min=1e-3)
    assert errors.max() < 6 / 400**0.5
