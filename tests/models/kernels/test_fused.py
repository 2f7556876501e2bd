from __future__ import annotations

import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.activations import ACT2FN

from ftkit.models.builtin.builtin import resolve
from ftkit.models.kernels.document_attention import DOCUMENTS, register_document_attention
from ftkit.models.kernels.fused import use_fused_gelu, use_fused_operations

FAMILIES = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
register_document_attention()


def load(family, **settings):
    return AutoModelForCausalLM.from_pretrained(
        resolve(f"builtin:tiny-{family}"), attn_implementation=DOCUMENTS, **settings
    )


def with_lora(model, **settings):
    torch.manual_seed(2)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", init_lora_weights=False, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, config)


def test_the_fused_gelu_is_the_same_function():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = ACT2FN["gelu_new"]

    holder, values = Holder(), torch.linspace(-9, 9, 2001, requires_grad=True)
    expected = holder.act(values)
    assert use_fused_gelu(holder) == 1
    found = holder.act(values)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    one, other = (torch.autograd.grad(result.sum(), values)[0] for result in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_model_may_change_the_output_of_an_adapted_layer_in_place():
    # as Longformer and LED divide their queries
    model = with_lora(load("llama"))
    use_fused_operations(model)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    states = torch.randn(2, 3, 32, requires_grad=True)
    output = layer(states)
    output /= 2.0
    one, other = (torch.autograd.grad(result.sum(), states)[0] for result in (output, layer(states) / 2.0))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_dropout_a_model_gives_the_same_logits_and_gradients(family):
    model = with_lora(load(family)).eval()
    ids = torch.randint(5, 200, (1, 30), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(12), torch.arange(18)])[None]
    results = []
    for fused in (False, True):
        if fused:
            use_fused_operations(model)
        model.zero_grad()
        output = model(input_ids=ids, position_ids=positions, labels=ids, use_cache=False)
        output.loss.backward()
        results.append([output.logits, *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert len(results[0]) > 1
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [True, False])
def test_faster_operations_that_are_not_the_same_for_a_model_are_undone(wrong, monkeypatch):
    model = with_lora(load("gpt2"))
    kinds = [type(module) for module in model.modules()]
    if wrong:
        # it shows in the gradients alone: the adapters' outputs are zero as yet
        monkeypatch.setattr("ftkit.models.kernels.fused_lora._factor", lambda scaling, _mask: 1.01 * scaling)
    assert use_fused_operations(model) is not wrong
    assert ([type(module) for module in model.modules()] == kinds) is wrong
    assert any("forward" in vars(module) for module in model.modules()) is not wrong


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_draws_the_same_dropout_twice(reentrant):
    """All of GPT-2's dropouts and the adapters' own: of embeddings, attention weights and residuals."""
    results = []
    for checkpointing in (False, True):
        model = with_lora(load("gpt2"), lora_dropout=0.2).train()
        use_fused_operations(model)
        model.enable_input_require_grads()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        ids = torch.randint(5, 200, (1, 30), generator=torch.Generator().manual_seed(1))
        positions = torch.cat([torch.arange(12), torch.arange(18)])[None]
        torch.manual_seed(7)
        loss = model(input_ids=ids, position_ids=positions, labels=ids, use_cache=False).loss
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_mean_over_many_dropouts_is_that_of_the_plain_model():
    model = load("gpt2").train()
    ids = torch.arange(5, 25)[None]

    def mean_loss():
        with torch.no_grad():
            losses = torch.stack([model(ids, labels=ids, use_cache=False).loss for _ in range(300)])
        return losses.mean(), losses.std() / 300**0.5

    torch.manual_seed(1)
    plain, plain_error = mean_loss()
    use_fused_operations(model)
    fused, fused_error = mean_loss()
    assert plain_error > 0, "dropout is on"
    assert abs(fused - plain) < 5 * (plain_error**2 + fused_error**2) ** 0.5
