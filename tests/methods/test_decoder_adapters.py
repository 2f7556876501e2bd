"""Adapters of language models: how many numbers they train, that they start at their base, and that they move."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from ftkit.errors import UserError
from ftkit.methods.lora import lora_plus
from ftkit.methods.prompt_tuning import PromptTuningMethod, attach_prompt_tuning
from ftkit.methods.start import unmoved_adapters
from ftkit.models.builtin.builtin import resolve
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.merging import largest_difference, probe_tokens
from ftkit.models.placement import count_parameters
from tests.fixtures.tiers import slow_but
from tests.fixtures.tiny_models import logits_of

Attach = Callable[..., Any]

DECODERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
HIDDEN, MLP, HEADS, KV_HEADS, HEAD, LAYERS = 32, 64, 4, 2, 8, 2
TOKENS = probe_tokens(700)
STARTS: dict[str, dict[str, Any]] = {
    "default": {},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
}


def tiny(family: str) -> Checkpoint:
    return Checkpoint(f"builtin:tiny-{family}", Path(resolve(f"builtin:tiny-{family}")))


def layer_shapes(family: str) -> list[tuple[int, int]]:
    """(in, out) of the linear layers of one block, from the architecture."""
    if family == "gpt2":
        return [(HIDDEN, 3 * HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, MLP), (MLP, HIDDEN)]
    query, key = (HIDDEN, HEADS * HEAD), (HIDDEN, KV_HEADS * HEAD)
    return [query, key, key, (HEADS * HEAD, HIDDEN), (HIDDEN, MLP), (HIDDEN, MLP), (MLP, HIDDEN)]


@pytest.mark.parametrize(
    ("rank", "family"), slow_but([(2, "gpt2"), (8, "gemma3"), (8, "llama")], product([2, 8], DECODERS))
)
def test_lora_trains_the_parameters_of_the_formula(family: str, rank: int, attach: Attach) -> None:
    base = count_parameters(load_causal_lm(tiny(family), dtype=torch.float32)).total
    expected = LAYERS * sum(rank * (inside + out) for inside, out in layer_shapes(family))
    assert count_parameters(attach(family, r=rank)) == (base + expected, expected)
    magnitudes = LAYERS * sum(out for _, out in layer_shapes(family))
    assert count_parameters(attach(family, r=rank, use_dora=True)).trained == expected + magnitudes
    assert count_parameters(attach(family, r=rank, layers_to_transform=[1])).trained == expected // 2


@pytest.mark.parametrize("family", DECODERS)
def test_a_prompt_trains_its_tokens_times_the_width(family: str, attach: Attach) -> None:
    assert count_parameters(attach(family, "prompt_tuning", num_virtual_tokens=5)).trained == 5 * HIDDEN


@pytest.mark.parametrize("family", DECODERS)
def test_all_linear_is_what_peft_takes_it_to_be(family: str, attach: Attach) -> None:
    from peft import LoraConfig, get_peft_model

    theirs = get_peft_model(
        load_causal_lm(tiny(family), dtype=torch.float32),
        LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"),
    )
    names = [name for name, _ in attach(family).named_parameters() if "lora_" in name]
    assert names == [name for name, _ in theirs.named_parameters() if "lora_" in name]
    assert not any("lm_head" in name for name in names)


@pytest.mark.parametrize(
    ("family", "start"),
    slow_but(
        [
            *product(["gemma3"], STARTS),
            ("gpt2", "orthogonal"),
            ("gpt2", "pissa"),
            ("gpt2", "dora"),
            *product(DECODERS[1:], ["default"]),
        ],
        [case for case in product(DECODERS, STARTS) if case != ("gpt2", "olora")],
    ),
)
def test_lora_starts_equal_to_its_base_and_every_adapter_moves(
    family: str, start: str, attach: Attach, take_steps: Callable[..., None]
) -> None:
    base = logits_of(load_causal_lm(tiny(family), dtype=torch.float32).eval(), TOKENS)
    model = attach(family, **STARTS[start])
    exact = start not in ("orthogonal", "pissa", "olora")
    assert largest_difference(logits_of(model, TOKENS), base) <= (0 if exact else 2e-5)
    watched = len(layer_shapes(family)) * LAYERS * (2 if start == "dora" else 1)
    assert len(unmoved_adapters(model)) == watched
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    take_steps(model)
    assert unmoved_adapters(model) == []
    assert largest_difference(logits_of(model, TOKENS), base) > 0.1
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


def test_an_adapter_that_takes_no_part_is_named_as_the_model_names_its_layer(
    attach: Attach, take_steps: Callable[..., None]
) -> None:
    model = attach("llama", init_lora_weights="orthogonal")
    for name, parameter in model.named_parameters():
        if "layers.1.mlp.up_proj" in name:
            parameter.requires_grad_(False)
    take_steps(model)
    assert unmoved_adapters(model) == ["model.layers.1.mlp.up_proj.lora_B"]


def test_adapters_are_float32_over_a_half_precision_base() -> None:
    from ftkit.methods.lora import LoraMethod
    from ftkit.methods.lora_layers import attach_language_lora

    model = attach_language_lora(load_causal_lm(tiny("llama"), dtype=torch.bfloat16), LoraMethod(type="lora"))
    kinds = {(parameter.dtype, parameter.requires_grad) for parameter in model.parameters()}
    assert kinds == {(torch.bfloat16, False), (torch.float32, True)}
    with pytest.raises(UserError, match=r"pissa starts at the base model only up to rounding.*model.dtype: float32"):
        attach_language_lora(
            load_causal_lm(tiny("llama"), dtype=torch.bfloat16), LoraMethod(type="lora", init_lora_weights="pissa")
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"target_modules": ["q_pro"]},
            r"target_modules: this model has no q_pro; did you mean q_proj\? names here: q_",
        ),
        ({"target_modules": ["q_proj", "query"]}, r"has no query; names here: q_proj, k_proj, v_proj, o_proj, gate_"),
        ({"target_modules": ["norm"]}, r"has no norm; "),
        ({"target_modules": ["lm_head"]}, "lm_head is lm_head, and this model's output head and embeddings share one"),
        ({"modules_to_save": ["embed_tokens"]}, r"embeddings share one matrix \(model.embed_tokens and lm_head\)"),
        ({"modules_to_save": ["model"]}, "model is model, and this model's output head and embeddings share"),
        ({"modules_to_save": ["layernorm"]}, r"has no layernorm; did you mean input_layernorm\?"),
        ({"target_modules": ["up_proj"], "modules_to_save": ["mlp"]}, "up_proj would get an adapter and be trained"),
        ({"layers_to_transform": [2]}, "there is no layer 2; this model has layers 0 to 1"),
        ({"layers_to_transform": [-1]}, "there is no layer -1"),
        ({"modules_to_save": ["layers"]}, "no linear layer is left for an adapter"),
        ({"rank_pattern": {"q_prj": 4}}, r"method.rank_pattern: this model has no q_prj; did you mean q_proj\?"),
        ({"alpha_pattern": {"lm_head": 4}}, "method.alpha_pattern: this model has no lm_head"),
        ({"rank_pattern": {"(": 4}}, r"method.rank_pattern: \( is no regular expression"),
        ({"init_lora_weights": "orthogonal", "rank_pattern": {"q_proj": 3}}, "needs an even rank, and r is 3"),
        (
            {"init_lora_weights": "olora", "rank_pattern": {"k_proj": 17}},
            "olora has 16 columns to start from, and r is 17",
        ),
        ({"init_lora_weights": False}, "false starts at random, not at the base model"),
        ({"init_lora_weights": "orthogonal", "r": 3}, "orthogonal needs an even rank, and r is 3"),
        ({"init_lora_weights": "pissa", "r": 17}, "pissa has 16 singular values to start from, and r is 17"),
        ({"init_lora_weights": "pissa", "use_dora": True}, "pissa with use_dora cannot be saved"),
    ],
)
def test_what_the_model_cannot_do_is_refused_with_what_it_can(
    settings: dict[str, Any], message: str, attach: Attach
) -> None:
    with pytest.raises(UserError, match=message):
        attach("llama", **settings)


@pytest.mark.parametrize(("family", "name"), [("olmo2", "lm_head"), ("llama", "model.norm"), ("gpt2", "ln_f")])
def test_a_module_to_save_is_trained_whole_and_the_recipe_is_left_as_it_was(
    family: str, name: str, attach: Attach, take_steps: Callable[..., None]
) -> None:
    wanted = [name]
    model = attach(family, modules_to_save=wanted)
    whole = [key for key, p in model.named_parameters() if p.requires_grad and "lora_" not in key]
    assert whole
    assert all("modules_to_save.default" in key and name in key for key in whole)
    assert wanted == [name]
    base = logits_of(load_causal_lm(tiny(family), dtype=torch.float32).eval(), TOKENS)
    assert largest_difference(logits_of(model, TOKENS), base) == 0
    take_steps(model)
    assert unmoved_adapters(model) == []


def test_linear_layers_inside_a_module_that_is_trained_whole_get_no_adapter(attach: Attach) -> None:
    model = attach("llama", modules_to_save=["mlp"])
    assert not [key for key, _ in model.named_parameters() if "mlp" in key and "lora_" in key]
    assert [key for key, _ in model.named_parameters() if "q_proj" in key and "lora_" in key]


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
@pytest.mark.parametrize(("text", "length"), [("the ship", 5), ("the ship lay at the pier by the salt water", 3)])
def test_a_prompt_of_text_starts_as_the_embeddings_of_its_tokens(
    family: str, text: str, length: int, attach: Attach
) -> None:
    ids = load_tokenizer_for_lm(tiny(family))(text).input_ids
    model = attach(
        family,
        "prompt_tuning",
        num_virtual_tokens=length,
        prompt_tuning_init="text",
        prompt_tuning_init_text=text,
    )
    cycled = torch.tensor([ids[position % len(ids)] for position in range(length)])
    assert torch.equal(model.prompt_encoder["default"].embedding.weight, model.get_input_embeddings()(cycled))
    # the prompt is then what those tokens are to the model
    plain = load_causal_lm(tiny(family), dtype=torch.float32).eval()
    whole = logits_of(plain, torch.cat([cycled.expand(len(TOKENS), -1), TOKENS], dim=1))
    found = logits_of(model, TOKENS)
    assert largest_difference(found[:, -TOKENS.shape[1] :], whole[:, length:]) < 1e-5


def test_a_prompt_of_the_vocabulary_is_made_of_its_tokens_and_a_random_one_is_of_their_size(attach: Attach) -> None:
    embeddings = load_causal_lm(tiny("gemma3"), dtype=torch.float32).get_input_embeddings()
    assert isinstance(embeddings, nn.Module)
    rows = embeddings(torch.arange(907))
    prompt = attach("gemma3", "prompt_tuning", prompt_tuning_init="vocab").prompt_encoder["default"].embedding.weight
    assert all(bool((rows == vector).all(dim=1).any()) for vector in prompt)
    drawn = attach("gemma3", "prompt_tuning", prompt_tuning_init="random", num_virtual_tokens=64)
    weight = drawn.prompt_encoder["default"].embedding.weight
    assert float(weight.detach().std()) == pytest.approx(float(rows.detach().std()), rel=0.1)
    assert not any(bool((rows == vector).all(dim=1).any()) for vector in weight)


def test_a_prompt_moves_and_the_base_does_not(attach: Attach, take_steps: Callable[..., None]) -> None:
    model = attach("llama", "prompt_tuning", num_virtual_tokens=4)
    assert unmoved_adapters(model) == ["prompt_encoder.embedding"]
    before = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    take_steps(model)
    assert unmoved_adapters(model) == []
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)


def test_a_prompt_of_no_text_is_refused() -> None:
    method = PromptTuningMethod.model_construct(
        type="prompt_tuning", num_virtual_tokens=4, prompt_tuning_init="text", prompt_tuning_init_text=None
    )
    model = load_causal_lm(tiny("gpt2"), dtype=torch.float32)
    with pytest.raises(UserError, match="prompt_tuning_init_text has none"):
        attach_prompt_tuning(model, method, load_tokenizer_for_lm(tiny("gpt2")))


def adamw_of(learning_rate: float, weight_decay: float) -> TrainingArguments:
    return TrainingArguments(learning_rate=learning_rate, weight_decay=weight_decay, use_cpu=True, report_to="none")


def test_lora_plus_puts_every_trained_number_in_one_group_and_only_b_and_vectors_learn_faster(attach: Attach) -> None:
    model = attach("gpt2", use_dora=True, modules_to_save=["ln_f"])
    groups = lora_plus(model, adamw_of(1e-4, 0.01), ratio=16.0).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    placed = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(placed) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    for group in groups:
        for parameter in group["params"]:
            faster = "lora_B" in names[id(parameter)] or parameter.ndim == 1
            assert group["lr"] == pytest.approx(16e-4 if faster else 1e-4)
            if parameter.ndim == 2:
                assert group["weight_decay"] == 0.01


def test_lora_plus_with_ratio_one_takes_the_step_that_adamw_takes(attach: Attach) -> None:
    plain, grouped = attach("llama"), attach("llama")
    optimizers = [
        torch.optim.AdamW([p for p in plain.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0),
        lora_plus(grouped, adamw_of(1e-3, 0.0), ratio=1.0),
    ]
    for model, optimizer in zip((plain, grouped), optimizers, strict=True):
        model(input_ids=TOKENS, labels=TOKENS).loss.backward()
        optimizer.step()
    assert largest_difference(logits_of(plain, TOKENS), logits_of(grouped, TOKENS)) == 0
    assert math.isfinite(float(logits_of(plain, TOKENS).sum()))
