"""Parts that stay as they are, and rates by depth: names and numbers, whatever the architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    ResNetConfig,
    ResNetModel,
)

from ftkit.errors import UserError
from ftkit.methods.freezing import freeze
from ftkit.methods.layer_rates import layer_rates, set_rates
from ftkit.models.builtin.builtin import resolve

AUTOS = {
    "bert": AutoModelForSequenceClassification,
    "albert": AutoModelForSequenceClassification,
    "gpt2": AutoModelForCausalLM,
    "llama": AutoModelForCausalLM,
    "t5": AutoModelForSeq2SeqLM,
    "bart": AutoModelForSeq2SeqLM,
}


def load(family: str) -> Any:
    return AUTOS[family].from_pretrained(resolve(f"builtin:tiny-{family}"))


def still(model: Any) -> set[str]:
    return {name for name, weight in model.named_parameters() if not weight.requires_grad}


@pytest.mark.parametrize(
    ("family", "asked", "beginnings"),
    [
        ("bert", "embeddings", ["bert.embeddings."]),
        ("bert", "layers.0", ["bert.encoder.layer.0."]),
        ("bert", "layer.0-1.attention", ["bert.encoder.layer.0.attention.", "bert.encoder.layer.1.attention."]),
        ("bert", "layers.*", ["bert.encoder.layer."]),
        ("albert", "embeddings", ["albert.embeddings.word", "albert.embeddings.pos", "albert.embeddings.token"]),
        ("gpt2", "embeddings", ["transformer.wte.", "transformer.wpe."]),
        ("gpt2", "layers.1", ["transformer.h.1."]),
        ("gpt2", "transformer.h.0", ["transformer.h.0."]),
        ("t5", "layers.0", ["encoder.block.0.", "decoder.block.0."]),
        ("t5", "encoder.layers.0-1", ["encoder.block.0.", "encoder.block.1."]),
        ("t5", "encoder", ["encoder.", "shared."]),
        ("t5", "embeddings", ["shared."]),
        ("bart", "decoder.layers.1", ["model.decoder.layers.1."]),
    ],
)
def test_a_name_means_what_lies_below_it_and_nothing_else(family: str, asked: str, beginnings: list[str]) -> None:
    model = load(family)
    said = freeze(model, [asked])
    assert still(model) == {name for name, _ in model.named_parameters() if name.startswith(tuple(beginnings))}
    kept = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    assert said[0].startswith(f"{kept:,} of ")


def test_a_star_stands_for_anything_and_a_matrix_of_two_names_is_told() -> None:
    model = load("llama")
    said = freeze(model, ["*norm*", "lm_head"])
    assert still(model) == {name for name, _ in model.named_parameters() if "norm" in name or "embed_tokens" in name}
    assert said[1] == "of these is the same by another name: model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("family", "names", "message"),
    [
        ("llama", ["mlp.up_prj"], "has no mlp.up_prj; did you mean up_proj"),
        ("llama", ["layers.1-2"], "no layers.1-2; this model has layers 0 to 1"),
        ("llama", ["layers.0", "layers.7"], "there is no layers.7"),
        ("llama", ["layers.1-0"], "ends before it begins"),
        ("bart", ["encoder.layers.5"], "its encoder has layers 0 to 1"),
        ("albert", ["layers.0"], "the layers of this model cannot be told"),
        ("llama", ["model"], "nothing is left to train"),
    ],
)
def test_a_name_that_fits_nothing_or_everything_is_refused(family: str, names: list[str], message: str) -> None:
    model = load(family)
    with pytest.raises(UserError, match=message):
        freeze(model, names)
    assert still(model) == set()


@pytest.mark.parametrize(
    ("family", "exponents"),
    [
        ("bert", {"embeddings.": 3, "layer.0.": 2, "layer.1.": 1, "pooler.": 0, "classifier.": 0}),
        # its output head is the matrix of the embeddings
        ("gpt2", {"wte.": 3, "wpe.": 3, "h.0.": 2, "h.1.": 1, "ln_f.": 0}),
        ("t5", {"shared.": 3, "block.0.": 2, "block.1.": 1, "final_layer_norm.": 0, "lm_head.": 0}),
    ],
)
def test_each_parameter_moves_at_the_rate_of_its_depth(family: str, exponents: dict[str, int]) -> None:
    model, decay, peak = load(family), 0.5, 0.25
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    # two groups, as Trainer makes them
    parts = [[w for w in model.parameters() if (w.ndim > 1) == is_matrix] for is_matrix in (True, False)]
    optimizer = torch.optim.SGD([{"params": part} for part in parts], lr=peak)
    set_rates(optimizer, layer_rates(model, decay=decay, learning_rate=peak).factors)
    assert optimizer.param_groups[0]["lr"] == peak, "the rate that is logged"
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        exponent = next(number for part, number in exponents.items() if part in name)
        torch.testing.assert_close(before[name] - weight, torch.full_like(weight, peak * decay**exponent))


def test_embeddings_are_refused_where_there_are_none() -> None:
    model = ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic"))
    with pytest.raises(UserError, match=r"model.freeze: this model has no embeddings"):
        freeze(model, ["embeddings"])


def test_depth_is_refused_where_one_layer_is_used_again_and_again() -> None:
    with pytest.raises(UserError, match=r"training.layer_lr_decay: the layers of this model cannot be told"):
        layer_rates(load("albert"), decay=0.9, learning_rate=1e-3)
