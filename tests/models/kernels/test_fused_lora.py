from __future__ import annotations

import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from transformers import AutoModelForCausalLM

from ftkit.models.builtin.builtin import resolve
from ftkit.models.kernels.fast_dropout import DropoutMask
from ftkit.models.kernels.fused_lora import use_fused_lora

FAMILIES = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")


def load(family, *, dtype=torch.float32, **settings):
    model = AutoModelForCausalLM.from_pretrained(resolve(f"builtin:tiny-{family}"), dtype=dtype)
    config = LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "target_modules": "all-linear"} | settings)
    torch.manual_seed(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def loss_and_gradients(model):
    ids = torch.randint(5, 200, (2, 11), generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    output = model(input_ids=ids, labels=ids)
    output.loss.backward()
    return output, {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same(model, expected, *, rtol=1e-4, atol=1e-6):
    output, gradients = loss_and_gradients(model)
    torch.testing.assert_close(output.logits, expected[0].logits, rtol=rtol, atol=1e-5)
    assert gradients.keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(gradients[name], gradient, rtol=rtol, atol=atol, msg=name)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "lora_alpha": 3}])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_peft(family, settings):
    model = load(family, **settings)
    expected = loss_and_gradients(model)
    assert all("lora_" in name for name in expected[1])
    layers = [module for module in model.modules() if type(module) is Linear]
    assert use_fused_lora(model) == len(layers) > 0
    for layer in layers:
        # its parts are read, not called
        layer.lora_A["default"].forward = layer.lora_B["default"].forward = None
    assert_same(model, expected)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_over_a_bfloat16_base_the_result_is_pefts_but_for_rounding_and_gradients_are_float32(family):
    model = load(family, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        expected = loss_and_gradients(model)
        use_fused_lora(model)
        output, gradients = loss_and_gradients(model)
    assert output.logits.dtype == expected[0].logits.dtype
    assert output.loss.item() == pytest.approx(expected[0].loss.item(), rel=0.01)
    for name, gradient in expected[1].items():
        assert gradients[name].dtype == torch.float32
        assert (gradients[name] - gradient).norm() / gradient.norm().clamp(min=1e-9) < 0.1, name


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.disable_adapter_layers(),
        lambda model: model.merge_adapter(),
        lambda model: model.base_model.model.model.layers[0].mlp.up_proj.base_layer.requires_grad_(True),
    ],
)
def test_layers_of_which_more_is_asked_do_what_they_did(change):
    model = load("llama")
    use_fused_lora(model)
    change(model)
    found = model(input_ids=torch.arange(9)[None]).logits
    plain = load("llama")
    change(plain)
    torch.testing.assert_close(found, plain(input_ids=torch.arange(9)[None]).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True}])
def test_other_kinds_of_adapters_do_what_they_did(settings):
    # a bias of the adapter needs one of the layer
    model = load("gpt2", **settings)
    expected = loss_and_gradients(model)
    use_fused_lora(model)
    assert_same(model, expected)


def test_two_adapters_at_once_do_what_they_did():
    model = load("llama")
    model.add_adapter(
        "second", LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    model.base_model.set_adapter(["default", "second"])
    expected = loss_and_gradients(model)
    use_fused_lora(model)
    assert_same(model, expected)


def test_under_autocast_over_float32_weights_the_layers_do_what_they_did():
    model = load("llama")
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(input_ids=torch.arange(9)[None]).logits
        use_fused_lora(model)
        assert torch.equal(model(input_ids=torch.arange(9)[None]).logits, expected)


def test_dropout_falls_on_what_the_adapter_reads_only():
    model = load("llama", lora_dropout=0.4, target_modules=["o_proj"])
    layer = model.base_model.model.model.layers[0].self_attn.o_proj.train()
    use_fused_lora(model)
    hidden = torch.randn(1, 6, layer.in_features, requires_grad=True)
    torch.manual_seed(5)
    found = layer(hidden)
    torch.manual_seed(5)
    mask = DropoutMask(0.4)
    kept = mask.draw((6, layer.in_features), torch.float32)
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    read = hidden * kept * mask.scale
    expected = layer.base_layer(hidden) + layer.scaling["default"] * (read @ down.t() @ up.t())
    torch.testing.assert_close(found, expected)
    inputs, arriving = [hidden, down, up], torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, inputs, arriving), torch.autograd.grad(expected, inputs, arriving), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert torch.equal(layer.eval()(hidden), layer(hidden))


def test_what_is_saved_stays_the_same(tmp_path):
    model = load("gpt2")
    before = {name: values.clone() for name, values in model.state_dict().items()}
    use_fused_lora(model)
    assert before.keys() == model.state_dict().keys()
    model.save_pretrained(tmp_path)
    merged = model.merge_and_unload()
    ids = torch.arange(9)[None]
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, load("gpt2")(input_ids=ids).logits, rtol=1e-4, atol=1e-5)
