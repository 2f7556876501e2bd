"""Adapters of encoder-decoders: how many numbers they train, where they stand, that they move and the base does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from ftkit.methods.prefix_tuning import decoder_shape
from ftkit.methods.start import unmoved_adapters
from ftkit.models.builtin.builtin import resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.merging import answer, largest_difference, probe_tokens
from ftkit.models.placement import count_parameters
from ftkit.models.saved_lm import save_language_model
from ftkit.models.seq2seq import load_seq2seq, load_tokenizer_for_seq2seq
from tests.fixtures.tiers import slow, slow_but

Attach = Callable[..., Any]

FAMILIES = ("t5", "bart")
WIDTH, MLP, LAYERS = 32, 64, 2
TOKENS = probe_tokens(700)
STARTS: dict[str, dict[str, Any]] = {
    "default": {},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "pissa": {"init_lora_weights": "pissa"},
    "dora": {"use_dora": True},
}


def plain(family: str, dtype: torch.dtype = torch.float32) -> Any:
    folder = Path(resolve(f"builtin:tiny-{family}"))
    return load_seq2seq(Checkpoint(family, folder), dtype=dtype).eval()


def logits(model: Any, sources: torch.Tensor = TOKENS, **more: Any) -> torch.Tensor:
    inputs = {"input_ids": sources, "attention_mask": torch.ones_like(sources), "decoder_input_ids": TOKENS.flip(0)}
    return answer(model, inputs | {"use_cache": False} | more)


def write(model: Any) -> torch.Tensor:
    inputs = {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)}
    tokens: torch.Tensor = model.generate(**inputs, min_new_tokens=4, max_new_tokens=4, do_sample=False)
    return tokens


def made_t5(*, heads: int = 4, head_size: int = 8, layers: int = 2, decoder_layers: int = 2) -> Any:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=700,
        d_model=WIDTH,
        d_kv=head_size,
        d_ff=MLP,
        num_layers=layers,
        num_decoder_layers=decoder_layers,
        num_heads=heads,
        decoder_start_token_id=0,
        dropout_rate=0.0,
    )
    return T5ForConditionalGeneration(config).eval()


def made_bart(*, decoder_layers: int) -> Any:
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=700,
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=decoder_layers,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=MLP,
        decoder_ffn_dim=MLP,
        max_position_embeddings=64,
        dropout=0.0,
    )
    return BartForConditionalGeneration(config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_trains_the_parameters_of_the_formula(family: str, attach: Attach) -> None:
    attention, feed_forward = [(WIDTH, WIDTH)] * 4, [(WIDTH, MLP), (MLP, WIDTH)]
    # the decoder has a second attention, to what the encoder gives
    shapes = LAYERS * (attention + feed_forward) + LAYERS * (2 * attention + feed_forward)
    base = count_parameters(plain(family)).total
    for rank in (2, 8):
        expected = sum(rank * (inside + out) for inside, out in shapes)
        assert count_parameters(attach(family, r=rank)) == (base + expected, expected)
    magnitudes = sum(out for _, out in shapes)
    assert count_parameters(attach(family, r=8, use_dora=True)).trained == expected + magnitudes


@pytest.mark.parametrize(
    ("start", "family"),
    slow_but([*product(STARTS, ["t5"]), (next(iter(STARTS)), "bart")], product(STARTS, FAMILIES)),
)
def test_lora_starts_equal_to_its_base_and_every_adapter_moves(
    family: str, start: str, attach: Attach, take_steps: Callable[..., None]
) -> None:
    base, model = logits(plain(family)), attach(family, **STARTS[start])
    assert largest_difference(logits(model), base) <= (2e-5 if start in ("orthogonal", "pissa") else 0)
    assert len(unmoved_adapters(model)) == LAYERS * (6 + 10) * (2 if start == "dora" else 1)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    take_steps(model)
    assert unmoved_adapters(model) == []
    assert largest_difference(logits(model), base) > 0.1
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


@pytest.mark.parametrize(
    ("kind", "family"),
    slow_but(
        [("lora", "t5"), ("prompt_tuning", "bart"), ("prefix_tuning", "t5")],
        product(["lora", "prompt_tuning", "prefix_tuning"], FAMILIES),
    ),
)
def test_adapters_are_float32_over_a_half_precision_base_and_can_be_trained(
    family: str, kind: str, adapt: Attach, take_steps: Callable[..., None]
) -> None:
    model = adapt(plain(family, torch.bfloat16), family, kind)
    kinds = {(parameter.dtype, parameter.requires_grad) for parameter in model.parameters()}
    assert kinds == {(torch.bfloat16, False), (torch.float32, True)}
    take_steps(model)
    assert unmoved_adapters(model) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_of_text_is_to_the_encoder_what_those_tokens_before_the_source_are(
    family: str, attach: Attach
) -> None:
    tokenizer = load_tokenizer_for_seq2seq(Checkpoint(family, Path(resolve(f"builtin:tiny-{family}"))))
    ids = tokenizer("the ship lay at the pier").input_ids
    for length in (3, len(ids) + 2):
        text = {"prompt_tuning_init": "text", "prompt_tuning_init_text": "the ship lay at the pier"}
        model = attach(family, "prompt_tuning", num_virtual_tokens=length, **text)
        assert count_parameters(model).trained == length * WIDTH
        cycled = torch.tensor([ids[place % len(ids)] for place in range(length)])
        assert torch.equal(model.prompt_encoder["default"].embedding.weight, model.get_input_embeddings()(cycled))
        longer = torch.cat([cycled.expand(len(TOKENS), -1), TOKENS], dim=1)
        assert largest_difference(logits(model), logits(plain(family), longer)) < 1e-5
        assert largest_difference(logits(model), logits(plain(family))) > 1e-3


@pytest.mark.parametrize("kind", ["prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_and_a_prefix_move_and_the_base_does_not(
    family: str, kind: str, attach: Attach, take_steps: Callable[..., None]
) -> None:
    model = attach(family, kind, num_virtual_tokens=4)
    assert unmoved_adapters(model) == ["prompt_encoder.embedding"]
    before = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    base = logits(plain(family))
    take_steps(model)
    assert unmoved_adapters(model) == []
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)
    assert largest_difference(logits(model), base) > 1e-3
    # without what was learnt it is the base
    assert largest_difference(logits(model.get_base_model()), base) == 0


@pytest.mark.parametrize("decoder_layers", [1, 2, 3, 4])
@pytest.mark.parametrize("make", [made_t5, made_bart])
def test_every_layer_of_the_decoder_has_a_prefix_of_its_own_and_every_other_number_is_idle(
    make: Callable[..., Any], decoder_layers: int, adapt: Attach
) -> None:
    model = adapt(make(decoder_layers=decoder_layers), "t5", "prefix_tuning", num_virtual_tokens=3)
    weight = model.prompt_encoder["default"].embedding.weight
    odd = decoder_layers if decoder_layers % 2 else decoder_layers + 1
    assert tuple(weight.shape) == (3, 2 * odd * WIDTH)
    assert count_parameters(model).trained == weight.numel()
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    # keys and values of a layer are one stretch of columns each, as wide as all its heads
    reached = weight.grad.view(3, 2 * odd, WIDTH).abs().amin(dim=(0, 2)) > 0
    idle = weight.grad.view(3, 2 * odd, WIDTH).abs().amax(dim=(0, 2)) == 0
    assert int(reached.sum()) == 2 * decoder_layers
    assert int(idle.sum()) == 2 * odd - 2 * decoder_layers


def test_a_prefix_is_as_wide_as_the_heads_together_where_the_model_is_not_and_peft_alone_loads_it(
    adapt: Attach, take_steps: Callable[..., None], tmp_path: Path
) -> None:
    from peft import AutoPeftModelForSeq2SeqLM

    base = made_t5(heads=2, head_size=5, layers=1, decoder_layers=2)
    assert decoder_shape(base.config) == (2, 2, 5)
    base.save_pretrained(tmp_path / "base")
    model = adapt(base, "t5", "prefix_tuning", num_virtual_tokens=3)
    take_steps(model)
    assert unmoved_adapters(model) == []
    save_language_model(model, tmp_path / "prefix", base_name=str(tmp_path / "base"))
    theirs = AutoPeftModelForSeq2SeqLM.from_pretrained(str(tmp_path / "prefix")).eval()
    assert largest_difference(logits(theirs), logits(model)) <= 1e-6
    assert largest_difference(logits(theirs), logits(made_t5(heads=2, head_size=5, layers=1))) > 1e-3


@pytest.mark.parametrize(
    ("kind", "family"),
    [("prompt_tuning", "t5"), ("prefix_tuning", "bart"), slow("prompt_tuning", "bart"), slow("prefix_tuning", "t5")],
)
def test_one_base_serves_two_prompts_and_gives_the_outputs_of_each(
    family: str, kind: str, attach: Attach, tmp_path: Path
) -> None:
    from peft import PeftModel

    expected = {}
    for number, name in enumerate(("one", "other")):
        model = attach(family, kind, num_virtual_tokens=4)
        torch.manual_seed(number)
        torch.nn.init.normal_(model.prompt_encoder["default"].embedding.weight, std=1.0)
        save_language_model(model, tmp_path / name, base_name=str(resolve(f"builtin:tiny-{family}")))
        expected[name] = logits(model), write(model)
    assert largest_difference(expected["one"][0], expected["other"][0]) > 0.05
    assert not torch.equal(expected["one"][1], expected["other"][1])
    base = plain(family)
    both = PeftModel.from_pretrained(base, str(tmp_path / "one"), adapter_name="one").eval()
    both.load_adapter(str(tmp_path / "other"), adapter_name="other")
    for name in ("one", "other", "one"):
        both.set_adapter(name)
        assert largest_difference(logits(both), expected[name][0]) <= 1e-6
        assert torch.equal(write(both), expected[name][1])
    assert largest_difference(logits(base), logits(plain(family))) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_of_layers_are_those_of_both_sides(family: str, attach: Attach) -> None:
    names = [
        name for name, weight in attach(family, layers_to_transform=[1]).named_parameters() if weight.requires_grad
    ]
    assert {side for side in ("encoder", "decoder") if any(f"{side}." in name for name in names)} == {
        "encoder",
        "decoder",
    }
    assert all(".block.1." in name or ".layers.1." in name for name in names)
