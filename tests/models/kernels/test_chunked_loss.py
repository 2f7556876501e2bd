from __future__ import annotations

import inspect
import warnings
from itertools import product

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from ftkit.models.builtin.builtin import resolve
from ftkit.models.kernels import chunked_loss
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from tests.fixtures.tiers import slow_but

FAMILIES = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Five positions a chunk or so, so that a batch of the tests takes several and the last one is short."""
    monkeypatch.setattr(chunked_loss, "LOGITS_AT_A_TIME", 5 * 300)


def load(family, **settings):
    # dropout draws other numbers when other positions are computed
    model = AutoModelForCausalLM.from_pretrained(resolve(f"builtin:tiny-{family}"), **settings).eval()
    model.config.use_cache = False
    return model


def quiet_peft(model, config):
    torch.manual_seed(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, config).eval()


def with_lora(model, **settings):
    config = LoraConfig(
        r=4, task_type="CAUSAL_LM", init_lora_weights=False, **{"target_modules": "all-linear"} | settings
    )
    return quiet_peft(model, config)


def untied(model):
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone() * 1.1)
    return model


METHODS = {
    "full": lambda model: model,
    "untied": untied,
    "lora": with_lora,
    "lora on the output layer too": lambda model: with_lora(untied(model), target_modules=["lm_head"]),
    "output layer saved whole": lambda model: with_lora(model, modules_to_save=["lm_head"]),
    "prompt tuning": lambda model: quiet_peft(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)),
}


def make_batch(model, *, rows=3, length=17, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, model.config.vocab_size, (rows, length), generator=generator)
    lengths = torch.randint(4, length + 1, (rows, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    labels = ids.masked_fill((mask == 0) | (torch.rand(ids.shape, generator=generator) < 0.4), -100)
    labels[:, 0] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def loss_and_gradients(model, batch, **more):
    model.zero_grad()
    loss = model(**batch, **more).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("family", "method"),
    slow_but(
        [*product(["gpt2", "gemma3"], METHODS), *product(["olmo2", "llama", "qwen3", "smollm3"], ["full", "lora"])],
        product(FAMILIES, METHODS),
    ),
)
def test_loss_and_gradients_are_those_of_all_logits(family, method):
    model = METHODS[method](load(family))
    batch = make_batch(model)
    options = [{}, {"num_items_in_batch": torch.tensor(31)}, {"num_items_in_batch": 7}]
    expected = [loss_and_gradients(model, batch, **more) for more in options]
    assert compute_loss_in_chunks(model)
    for (expected_loss, gradients), more in zip(expected, options, strict=True):
        loss, found = loss_and_gradients(model, batch, **more)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=0)
        assert found.keys() == gradients.keys()
        assert found, "something is trained"
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=f"{name} {more}")


def test_labels_are_smoothed_where_a_model_trains_and_nowhere_else():
    # without dropout
    model = load("llama")
    batch = make_batch(model)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    plain, smoothed = (
        torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100, label_smoothing=share
        )
        for share in (0.0, 0.2)
    )
    assert compute_loss_in_chunks(model, label_smoothing=0.2)
    torch.testing.assert_close(model(**batch).loss, plain)
    torch.testing.assert_close(model.train()(**batch).loss, smoothed)
    scored = model(**batch, token_scores=True)
    torch.testing.assert_close(scored.token_nll.mean(), plain)


@pytest.mark.parametrize("family", slow_but(["gpt2", "gemma3"], FAMILIES))
def test_eight_rows_at_once_are_as_good_as_eight_steps_of_one(family):
    model = with_lora(load(family))
    assert compute_loss_in_chunks(model)
    batch = make_batch(model, rows=8)
    num_items = (batch["labels"][:, 1:] != -100).sum()
    loss, expected = loss_and_gradients(model, batch, num_items_in_batch=num_items)
    model.zero_grad()
    total = 0.0
    for row in range(8):
        one = {name: values[row : row + 1] for name, values in batch.items()}
        part = model(**one, num_items_in_batch=num_items).loss
        part.backward()
        total += part.item()
    assert total == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(("dtype", "autocast"), [("bfloat16", False), ("float32", True), ("bfloat16", True)])
@pytest.mark.parametrize("family", slow_but(["gpt2", "gemma3"], FAMILIES))
def test_in_bfloat16_the_loss_is_that_of_float32_but_for_rounding(family, dtype, autocast):
    expected, _ = loss_and_gradients(with_lora(load(family)), make_batch(load(family)))
    model = with_lora(load(family, dtype=getattr(torch, dtype)))
    assert compute_loss_in_chunks(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss, gradients = loss_and_gradients(model, make_batch(model))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}


@pytest.mark.parametrize("family", FAMILIES)
def test_full_finetuning_under_autocast_gets_the_gradients_that_autocast_gives_anyway(family):
    model = load(family)
    batch = make_batch(model)
    found = []
    for chunked in (False, True):
        if chunked:
            assert compute_loss_in_chunks(model)
        with torch.autocast("cpu", torch.bfloat16):
            found.append(loss_and_gradients(model, batch)[1])
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        error = (found[1][name] - gradient).norm() / gradient.norm().clamp(min=1e-9)
        assert error < 0.03, name


def test_without_labels_the_model_does_what_it_did():
    model = load("gemma3")
    batch = make_batch(model)
    del batch["labels"]
    with torch.no_grad():
        logits = model(**batch).logits
        signature = inspect.signature(model.forward)
        assert compute_loss_in_chunks(model)
        assert torch.equal(model(**batch).logits, logits)
    assert inspect.signature(model.forward) == signature
    assert compute_loss_in_chunks(model), "a second time changes nothing"


def test_the_output_is_a_mapping_as_before_and_holds_no_logits():
    model = load("qwen3")
    assert compute_loss_in_chunks(model)
    output = model(**make_batch(model), output_hidden_states=True)
    assert set(output) == {"loss", "hidden_states"}
    assert output["loss"] is output[0]
    assert model(**make_batch(model), return_dict=False)[0].item() == pytest.approx(output.loss.item(), rel=1e-5)


@pytest.mark.parametrize("method", ["full", "lora", "prompt tuning"])
def test_token_scores_are_those_of_the_logits(method):
    model = METHODS[method](load("gpt2"))
    batch = make_batch(model)
    with torch.no_grad():
        logits = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits[:, -17:]
    kept = batch["labels"][:, 1:] != -100
    targets = batch["labels"][:, 1:][kept]
    expected = torch.nn.functional.cross_entropy(logits[:, :-1][kept], targets, reduction="none")
    assert compute_loss_in_chunks(model)
    output = model(**batch, token_scores=True)
    assert not output.loss.requires_grad
    torch.testing.assert_close(output.token_nll, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(output.token_correct, logits[:, :-1][kept].argmax(-1) == targets)
    assert output.loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)


def small(config_class, model_class, **settings):
    torch.manual_seed(3)
    sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    return model_class(config_class(**sizes, num_attention_heads=4, num_key_value_heads=2, **settings)).eval()


@pytest.mark.parametrize(
    "classes",
    [
        (Gemma2Config, Gemma2ForCausalLM, {"final_logit_softcapping": 1.5, "head_dim": 8}),
        (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 8.0}),
        (CohereConfig, CohereForCausalLM, {"logit_scale": 0.25}),
    ],
)
def test_logits_that_are_capped_or_scaled_after_the_output_layer(classes):
    config_class, model_class, settings = classes
    model = small(config_class, model_class, **settings)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(30)
    batch = make_batch(model)
    expected_loss, expected = loss_and_gradients(model, batch)
    assert compute_loss_in_chunks(model)
    loss, found = loss_and_gradients(model, batch)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_a_model_that_adds_something_to_the_loss_is_left_alone():
    model = small(MixtralConfig, MixtralForCausalLM, num_local_experts=2, output_router_logits=True)
    assert not compute_loss_in_chunks(model)
    assert "forward" not in vars(model)


def test_a_model_that_does_something_unknown_to_its_logits_is_left_alone():
    class Tempered(type(load("llama"))):
        def forward(self, **inputs):
            labels = inputs.pop("labels", None)
            output = super().forward(**inputs)
            output.logits = output.logits / 2
            if labels is not None:
                output.loss = self.loss_function(output.logits, labels, self.config.vocab_size)
            return output

    model = Tempered.from_pretrained(resolve("builtin:tiny-llama"))
    assert not compute_loss_in_chunks(model)
    assert model.training is False
    assert "forward" not in vars(model)
