from __future__ import annotations

import pytest
import torch
from torch import nn

from ftkit.models.kernels.fast_dropout import DropoutMask, FastDropout, use_fast_dropout


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5, 0.9])
def test_as_many_numbers_are_dropped_as_asked_in_every_place_of_a_draw(probability):
    kept = DropoutMask(probability, seed=3).draw((100_000, 4), torch.float32)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    # four numbers share one draw of 64 bits; five standard deviations of a share of 100,000
    bound = 5 * (probability * (1 - probability) / 100_000) ** 0.5
    assert (kept.mean(dim=0) - (1 - probability)).abs().max() < bound
    together = torch.corrcoef(kept.T) - torch.eye(4)
    assert together.abs().max() < 5 / 100_000**0.5


def test_the_mean_stays_exactly_as_expected():
    mask = DropoutMask(0.1, seed=0)
    num_kept_of_65536 = sum(number >= round(0.1 * 65536) - 32768 for number in range(-32768, 32768))
    assert mask.scale * num_kept_of_65536 / 65536 == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_is_dropped_and_scaled_as_the_values_were(dtype):
    values = torch.ones(7, 33, dtype=dtype, requires_grad=True)
    dropped = FastDropout(0.4)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped)
    assert dropped.dtype == dtype
    assert 0 < (dropped == 0).sum() < dropped.numel()


def test_masks_follow_the_global_seed_and_differ_from_call_to_call():
    layer, values = FastDropout(0.5), torch.ones(64)
    torch.manual_seed(1)
    first, second = layer(values), layer(values)
    torch.manual_seed(1)
    assert torch.equal(layer(values), first)
    assert not torch.equal(first, second)


def test_a_mask_is_drawn_again_piece_by_piece():
    mask = DropoutMask(0.5)
    pieces = [mask.draw(shape, torch.float32) for shape in ((3, 5), (2, 2, 2), (7,))]
    again = mask.again()
    assert all(torch.equal(again.draw(piece.shape, torch.float32), piece) for piece in pieces)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_nothing_and_everything_are_dropped_exactly(probability):
    assert FastDropout(probability)(torch.ones(50)).sum() == 50 * (1 - probability)


def test_in_eval_mode_nothing_is_dropped():
    values = torch.randn(20)
    assert FastDropout(0.9).eval()(values) is values


def test_every_dropout_of_a_model_is_replaced_in_the_mode_that_it_was_in():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3), nn.ModuleDict({"inner": nn.Dropout(0.1)}))
    model[2].eval()
    assert use_fast_dropout(model) == 2
    assert [type(model[1]), type(model[2]["inner"])] == [FastDropout, FastDropout]
    assert (model[1].p, model[2]["inner"].p) == (0.3, 0.1)
    assert (model[1].training, model[2]["inner"].training) == (True, False)
    assert use_fast_dropout(model) == 0
