from __future__ import annotations

import pytest
import torch
from torch import nn

from ftkit.models.kernels.chunked_cross_entropy import LabelledPositions, summed_cross_entropy, token_losses

NUM_POSITIONS, WIDTH, VOCABULARY = 23, 6, 31


class Case:
    def __init__(self, head="linear", num_labelled=11):
        generator = torch.Generator().manual_seed(5)
        self.layer = nn.Linear(WIDTH, VOCABULARY, bias=head == "with bias")
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.head = self.layer if head != "capped" else lambda states: torch.tanh(self.layer(states) / 3) * 3
        self.hidden = torch.randn(NUM_POSITIONS, WIDTH, generator=generator).requires_grad_()
        positions = torch.randperm(NUM_POSITIONS, generator=generator)[:num_labelled].sort().values
        targets = torch.randint(VOCABULARY, (num_labelled,), generator=generator)
        self.labelled = LabelledPositions(positions, targets)

    def expected(self, **settings):
        logits = self.head(self.hidden[self.labelled.positions])
        return nn.functional.cross_entropy(logits, self.labelled.targets, reduction="sum", **settings)

    def found(self, chunk_size, **settings):
        return summed_cross_entropy(
            self.layer, self.head, self.hidden, self.labelled, chunk_size=chunk_size, **settings
        )


@pytest.mark.parametrize("chunk_size", [1, 4, 11, 100])
@pytest.mark.parametrize("head", ["linear", "with bias", "capped"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_sum_and_gradients_do_not_depend_on_the_chunks(head, chunk_size, label_smoothing):
    case = Case(head)
    inputs = [case.hidden, *case.layer.parameters()]
    expected = case.expected(label_smoothing=label_smoothing)
    found = case.found(chunk_size, label_smoothing=label_smoothing)
    torch.testing.assert_close(found, expected)
    # what comes before it in the backward pass scales all
    for one, other in zip(
        torch.autograd.grad(found * 0.3, inputs), torch.autograd.grad(expected * 0.3, inputs), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_the_gradients_are_the_derivatives_by_finite_differences():
    case = Case("capped")
    case.layer.double()
    hidden = case.hidden.detach().double().requires_grad_()

    def total(states):
        return summed_cross_entropy(case.layer, case.head, states, case.labelled, chunk_size=4)

    # the sum is float32, so the steps are coarse
    torch.autograd.gradcheck(total, (hidden,), eps=1e-2, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize(("trains_head", "trains_hidden"), [(True, False), (False, True), (False, False)])
def test_only_what_is_trained_gets_a_gradient(trains_head, trains_hidden):
    case = Case()
    case.layer.requires_grad_(trains_head)
    case.hidden.requires_grad_(trains_hidden)
    total = case.found(4)
    assert total.requires_grad == (trains_head or trains_hidden)
    torch.testing.assert_close(total, case.expected())
    if total.requires_grad:
        total.backward()
    assert (case.layer.weight.grad is not None) == trains_head
    assert (case.hidden.grad is not None) == trains_hidden


def test_no_more_positions_than_a_chunk_go_through_the_output_layer_and_none_twice():
    case, rows = Case(num_labelled=11), []
    case.layer.register_forward_hook(lambda _layer, inputs, _output: rows.append(len(inputs[0])))
    case.found(4).backward()
    assert rows == [4, 4, 3]


def test_the_sum_of_nothing_is_zero_and_so_are_its_gradients():
    case = Case(num_labelled=0)
    total = case.found(4)
    total.backward()
    assert total == 0
    assert case.hidden.grad.abs().max() == case.layer.weight.grad.abs().max() == 0


def test_losses_and_hits_of_single_tokens():
    case = Case()
    losses = token_losses(case.head, case.hidden, case.labelled, chunk_size=4)
    logits = case.head(case.hidden[case.labelled.positions])
    torch.testing.assert_close(losses.nll, nn.functional.cross_entropy(logits, case.labelled.targets, reduction="none"))
    assert torch.equal(losses.correct, logits.argmax(dim=1) == case.labelled.targets)
    assert not losses.nll.requires_grad


def test_large_logits_neither_overflow_nor_vanish():
    case = Case()
    with torch.no_grad():
        case.layer.weight.mul_(300)
    found, expected = case.found(4), case.expected()
    torch.testing.assert_close(found, expected)
    assert torch.autograd.grad(found, case.hidden)[0].isfinite().all()
