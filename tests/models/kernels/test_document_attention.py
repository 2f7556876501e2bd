from __future__ import annotations

import warnings
from itertools import product

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, MistralConfig, MistralForCausalLM

from ftkit.models.builtin.builtin import resolve
from ftkit.models.kernels.document_attention import (
    DOCUMENTS,
    packing_is_exact,
    register_document_attention,
    use_document_attention,
)
from ftkit.models.placement import keep_cache
from tests.fixtures.tiers import slow_but

FAMILIES = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
ATTENTIONS = (DOCUMENTS, "sdpa", "eager")
# gemma3's tiny window is 64 tokens: one document is longer; one is a single token, and two are of equal length
LENGTHS = (7, 90, 1, 7, 30)

register_document_attention()


def load(family, attention, **settings):
    folder = resolve(f"builtin:tiny-{family}")
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention, **settings)
    model.config.use_cache = False
    return model


def made_up_documents(model, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(5, model.config.vocab_size, (1, length), generator=generator) for length in lengths]


def flat(documents):
    positions = torch.cat([torch.arange(row.shape[1]) for row in documents])[None]
    return {"input_ids": torch.cat(documents, dim=1), "position_ids": positions}


def difference_of_packing(model):
    documents = made_up_documents(model)
    with torch.no_grad():
        alone = torch.cat([model(row, use_cache=False).logits for row in documents], dim=1)
        packed = model(**flat(documents), use_cache=False).logits
    return (packed - alone).abs().max().item()


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_documents_get_the_logits_that_they_get_alone(family, attention):
    assert difference_of_packing(load(family, attention).eval()) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_without_restarting_positions_the_documents_would_see_one_another(family):
    model = load(family, DOCUMENTS).eval()
    documents = made_up_documents(model)
    with torch.no_grad():
        alone = torch.cat([model(row).logits for row in documents], dim=1)
        joined = model(torch.cat(documents, dim=1)).logits
    assert (joined - alone).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_masked_attention(family):
    gradients = {}
    for attention in (DOCUMENTS, "eager"):
        model = load(family, attention)
        batch = flat(made_up_documents(model))
        model(**batch, labels=batch["input_ids"]).loss.backward()
        gradients[attention] = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, gradient in gradients[DOCUMENTS].items():
        torch.testing.assert_close(gradient, gradients["eager"][name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("dropout", "family"),
    slow_but([*product([0.0], ["gemma3", "llama"]), (0.1, "gpt2")], product([0.0, 0.1], FAMILIES)),
)
def test_training_in_mixed_precision_goes_where_float32_goes(family, dropout):
    """Over float32 weights, norms and rotations give queries and keys in float32, while values come in bfloat16."""
    gradients = []
    for autocast in (False, True):
        names = {"attn_pdrop": dropout} if family == "gpt2" else {"attention_dropout": dropout}
        off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0} if family == "gpt2" else {}
        model = load(family, DOCUMENTS, **names, **off).train()
        batch = flat(made_up_documents(model))
        torch.manual_seed(4)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(**batch, labels=batch["input_ids"]).loss
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    # with dropout, float32 is computed in blocks too, from the same seeds
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() < 0.1


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_activation_checkpointing_keeps_the_documents_apart(family, reentrant):
    from peft import LoraConfig, get_peft_model

    def gradients(*, checkpointing):
        torch.manual_seed(0)
        config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(load(family, DOCUMENTS), config)
        # dropout would draw anew for each document, in the same order both times; off, there is nothing to agree on
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        batch = flat(made_up_documents(model))
        model.train()(**batch, labels=batch["input_ids"]).loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    plain, checkpointed = gradients(checkpointing=False), gradients(checkpointing=True)
    assert plain.keys() <= checkpointed.keys()
    assert any("lora_A" in name for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_rows_and_generation_are_as_with_sdpa(family):
    ours, theirs = load(family, DOCUMENTS).eval(), load(family, "sdpa").eval()
    ids = torch.cat([row[:, :7] for row in made_up_documents(ours, (7, 7))])
    for mask in (
        torch.ones_like(ids),
        torch.tensor([[1] * 7, [0] * 3 + [1] * 4]),
        torch.tensor([[1] * 7, [1] * 4 + [0] * 3]),
    ):
        with torch.no_grad():
            one, other = ours(ids, attention_mask=mask).logits, theirs(ids, attention_mask=mask).logits
        assert torch.equal(one[mask.bool()], other[mask.bool()])
    settings = {"max_new_tokens": 5, "do_sample": False, "use_cache": True, "pad_token_id": 0}
    mask = torch.tensor([[1] * 7, [0] * 3 + [1] * 4])
    generated = [model.generate(ids, attention_mask=mask, **settings) for model in (ours, theirs)]
    assert torch.equal(*generated)


def small(config_class, model_class, **settings):
    torch.manual_seed(3)
    config = config_class(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        **settings,
    )
    config._attn_implementation = DOCUMENTS
    return model_class(config).eval()


def test_every_layer_may_have_a_sliding_window():
    model = small(MistralConfig, MistralForCausalLM, sliding_window=8)
    assert difference_of_packing(model) <= 1e-5


def test_a_window_hides_what_lies_before_it():
    model = small(MistralConfig, MistralForCausalLM, sliding_window=4)
    documents = made_up_documents(model, (40, 20))
    changed = [documents[0].clone(), documents[1]]
    changed[0][0, 0] = (changed[0][0, 0] + 1) % 97
    with torch.no_grad():
        first, second = (model(**flat(rows)).logits for rows in (documents, changed))
    # two layers of 4 tokens reach back 6
    assert not torch.equal(first[:, :7], second[:, :7])
    assert torch.equal(first[:, 7:], second[:, 7:])


def test_soft_capped_attention_agrees_with_the_eager_one():
    model = small(Gemma2Config, Gemma2ForCausalLM, sliding_window=8, head_dim=8, attn_logit_softcapping=2.0)
    assert difference_of_packing(model) <= 1e-5
    documents = made_up_documents(model)
    padded = torch.cat([row[:, :7] for row in documents if row.shape[1] >= 7])
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [0] * 2 + [1] * 5, [1] * 7])
    with torch.no_grad():
        ours = [model(**flat(documents)).logits, model(padded, attention_mask=mask).logits[mask.bool()]]
        model.set_attn_implementation("eager")
        eager = [model(**flat(documents)).logits, model(padded, attention_mask=mask).logits[mask.bool()]]
    for one, other in zip(ours, eager, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_proof_passes_for_every_family_and_leaves_the_mode_alone(family, attention):
    model = load(family, attention).train()
    assert packing_is_exact(model)
    assert model.training


def test_the_proof_passes_in_bfloat16():
    model = load("llama", DOCUMENTS, dtype=torch.bfloat16)
    assert packing_is_exact(model)


def test_the_proof_fails_for_a_model_that_looks_across():
    class LooksAcross(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = load("llama", DOCUMENTS)
            self.get_input_embeddings = self.model.get_input_embeddings

        def forward(self, input_ids, position_ids=None, use_cache=None):
            return self.model(input_ids)

    assert not packing_is_exact(LooksAcross())


def test_the_proof_fails_for_a_model_that_takes_no_positions():
    class TakesNoPositions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = load("llama", DOCUMENTS)
            self.get_input_embeddings = self.model.get_input_embeddings

        def forward(self, input_ids, use_cache=None):
            return self.model(input_ids)

    assert not packing_is_exact(TakesNoPositions())


def test_the_proof_looks_at_a_model_as_it_is_set_to_train_with_the_caches_of_its_parts():
    from transformers import FuyuConfig, FuyuForCausalLM

    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "max_position_embeddings": 64}
    model = FuyuForCausalLM(FuyuConfig(**sizes, text_config={"model_type": "persimmon", **sizes}))
    model.config.use_cache = False
    assert not packing_is_exact(model), "the language model in it keeps a cache of its own"
    keep_cache(model, on=False)
    assert packing_is_exact(model)


def test_a_learnt_prompt_stands_before_the_first_document_only_so_packing_is_not_exact():
    from peft import PromptTuningConfig, get_peft_model

    model = get_peft_model(load("llama", DOCUMENTS), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    assert not packing_is_exact(model)


def test_it_is_taken_only_where_pytorchs_own_is_and_gives_the_same():
    model = load("llama", "sdpa")
    assert use_document_attention(model)
    assert model.config._attn_implementation == DOCUMENTS
    eager = load("llama", "eager")
    assert not use_document_attention(eager)
    assert eager.config._attn_implementation == "eager"


def test_a_model_that_has_other_answers_with_it_keeps_its_own():
    model = load("llama", "sdpa")
    own = model.forward

    def forward(*arguments, **inputs):
        output = own(*arguments, **inputs)
        if model.config._attn_implementation == DOCUMENTS:
            output.logits *= 2
        return output

    model.forward = forward
    assert not use_document_attention(model)
    assert model.config._attn_implementation == "sdpa"


def test_the_attention_is_not_written_into_the_checkpoint(tmp_path):
    load("llama", DOCUMENTS).save_pretrained(tmp_path)
    assert DOCUMENTS not in (tmp_path / "config.json").read_text()
