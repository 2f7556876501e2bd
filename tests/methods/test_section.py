"""What a method says of itself."""

from __future__ import annotations

from ftkit.methods.full import FullMethod
from ftkit.methods.lora import LoraMethod


def test_more_rank_keeps_the_scale_and_leaves_no_linear_layer_out():
    few = LoraMethod(type="lora", r=1, lora_alpha=2, target_modules=["q_proj"]).more_of_it
    assert few == {"method.r": 8, "method.lora_alpha": 16, "method.target_modules": "all-linear"}
    assert LoraMethod(type="lora", r=8, lora_alpha=16).more_of_it.keys() == {"method.r", "method.lora_alpha"}


def test_of_a_method_that_trains_every_weight_there_is_no_more():
    assert FullMethod(type="full").more_of_it == {}
