from __future__ import annotations

import copy
import warnings
from itertools import product

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForSeq2SeqLM,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from ftkit.models.builtin.builtin import resolve
from ftkit.models.kernels import chunked_loss
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from tests.fixtures.tiers import slow, slow_but

SIZES = {
    "vocab_size": 97,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "forced_eos_token_id": None,
    "decoder_start_token_id": 2,
}
T5_SIZES = {
    "vocab_size": 97,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """A few positions a chunk, so that a batch of the tests takes several and the last one is short."""
    monkeypatch.setattr(chunked_loss, "LOGITS_AT_A_TIME", 5 * 300)


def tiny(family):
    # dropout draws other numbers when other positions are computed
    return AutoModelForSeq2SeqLM.from_pretrained(resolve(f"builtin:tiny-{family}")).eval()


def made(model_class, config_class, sizes, **settings):
    torch.manual_seed(3)
    return model_class(config_class(**sizes, **settings)).eval()


def t5_untied():
    """As T5 1.1 has it: an output layer of its own, whose input is not scaled, and a gated GELU."""
    model = made(
        T5ForConditionalGeneration, T5Config, T5_SIZES, tie_word_embeddings=False, feed_forward_proj="gated-gelu"
    )
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone() * 0.1)
    assert not model.config.scale_decoder_outputs
    return model


def bart_with_bias():
    model = tiny("bart")
    model.final_logits_bias.copy_(torch.linspace(-3, 3, model.config.vocab_size))
    return model


MODELS = {
    "t5": lambda: tiny("t5"),
    "t5 untied": t5_untied,
    "bart": lambda: tiny("bart"),
    "bart with bias": bart_with_bias,
    "mt5": lambda: made(MT5ForConditionalGeneration, MT5Config, T5_SIZES),
    "pegasus": lambda: made(PegasusForConditionalGeneration, PegasusConfig, SIZES),
    "marian": lambda: made(MarianMTModel, MarianConfig, SIZES, decoder_vocab_size=97),
    "mbart": lambda: made(MBartForConditionalGeneration, MBartConfig, SIZES),
}


def with_adapter(model, config):
    torch.manual_seed(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, config).eval()


ADAPTERS = {
    "lora": lambda: LoraConfig(r=4, task_type="SEQ_2_SEQ_LM", target_modules="all-linear", init_lora_weights=False),
    "output layer saved whole": lambda: LoraConfig(
        r=4, task_type="SEQ_2_SEQ_LM", target_modules=["q", "q_proj"], modules_to_save=["lm_head"]
    ),
    "prompt tuning": lambda: PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3),
    "prefix tuning": lambda: PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3),
}


def make_batch(model, *, rows=3, sources=11, targets=9, masked=False):
    generator = torch.Generator().manual_seed(1)

    def ids_and_mask(length):
        ids = torch.randint(5, model.config.vocab_size, (rows, length), generator=generator)
        lengths = torch.randint(3, length + 1, (rows, 1), generator=generator)
        return ids, torch.arange(length) < lengths

    ids, mask = ids_and_mask(sources)
    labels, kept = ids_and_mask(targets)
    if masked:
        kept &= torch.rand(labels.shape, generator=generator) > 0.4
    ids = ids.masked_fill(~mask, model.config.pad_token_id)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels.masked_fill(~kept, -100)}


def loss_and_gradients(model, batch, **more):
    model.zero_grad()
    output = model(**batch, **more)
    output.loss.backward()
    return output.loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=0)
    assert found[1].keys() == expected[1].keys()
    assert found[1], "something is trained"
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_all_logits(name, masked):
    model = MODELS[name]()
    batch = make_batch(model, masked=masked)
    expected = loss_and_gradients(model, batch)
    assert compute_loss_in_chunks(model)
    found = loss_and_gradients(model, batch)
    assert found[0].dtype == torch.float32
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("name", "adapter"),
    slow_but(
        [*product(["t5", "bart with bias"], ADAPTERS)],
        product(["t5", "t5 untied", "bart", "bart with bias"], ADAPTERS),
    ),
)
def test_inside_a_peft_model_too(name, adapter):
    model = with_adapter(MODELS[name](), ADAPTERS[adapter]())
    batch = make_batch(model)
    expected = loss_and_gradients(model, batch)
    assert compute_loss_in_chunks(model)
    assert_same(loss_and_gradients(model, batch), expected)


@pytest.mark.parametrize("num_items", [7, torch.tensor(31)])
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_the_loss_is_divided_by_the_items_of_all_accumulated_batches(name, num_items):
    model = MODELS[name]()
    batch = make_batch(model)
    mean, gradients = loss_and_gradients(model, batch)
    assert compute_loss_in_chunks(model)
    factor = (batch["labels"] != -100).sum() / num_items
    found = loss_and_gradients(model, batch, num_items_in_batch=num_items)
    assert_same(found, (mean * factor, {name: gradient * factor for name, gradient in gradients.items()}))


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("adapter", [None, "prompt tuning", "prefix tuning"])
def test_neither_sources_nor_targets_depend_on_the_padding(name, adapter):
    model = MODELS[name]()
    if adapter is not None:
        model = with_adapter(model, ADAPTERS[adapter]())
    assert compute_loss_in_chunks(model)
    batch = make_batch(model)
    wider = {
        key: torch.nn.functional.pad(values, (0, 4), value={"input_ids": 7, "attention_mask": 0, "labels": -100}[key])
        for key, values in batch.items()
    }
    assert_same(loss_and_gradients(model, wider), loss_and_gradients(model, batch))


@pytest.mark.parametrize("name", ["t5", "bart", "pegasus"])
def test_rows_at_once_are_as_good_as_steps_of_one(name):
    model = MODELS[name]()
    assert compute_loss_in_chunks(model)
    batch = make_batch(model, rows=4)
    num_items = (batch["labels"] != -100).sum()
    loss, expected = loss_and_gradients(model, batch, num_items_in_batch=num_items)
    model.zero_grad()
    total = 0.0
    for row in range(4):
        part = model(**{key: values[row : row + 1] for key, values in batch.items()}, num_items_in_batch=num_items).loss
        part.backward()
        total += part.item()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert_same((torch.tensor(total), gradients), (loss, expected))


@pytest.mark.parametrize("name", ["t5", "bart with bias"])
def test_the_encoders_outputs_and_the_decoders_inputs_may_be_given(name):
    model = MODELS[name]()
    batch = make_batch(model)
    encoded = model.get_encoder()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    decoder_input_ids = batch["labels"].clamp(min=5).flip(1)
    given = [
        {"encoder_outputs": encoded, "attention_mask": batch["attention_mask"], "labels": batch["labels"]},
        batch | {"decoder_input_ids": decoder_input_ids},
        batch | {"decoder_inputs_embeds": model.get_input_embeddings()(decoder_input_ids)},
    ]
    with torch.no_grad():
        expected = [model(**inputs).loss for inputs in given]
        assert compute_loss_in_chunks(model)
        found = [model(**inputs).loss for inputs in given]
    torch.testing.assert_close(found, expected)
    assert len({round(loss.item(), 4) for loss in found}) > 1


@pytest.mark.parametrize("adapter", [None, *ADAPTERS])
@pytest.mark.parametrize("name", ["t5", "bart with bias"])
def test_token_scores_are_those_of_the_logits(name, adapter):
    model = MODELS[name]()
    if adapter is not None:
        model = with_adapter(model, ADAPTERS[adapter]())
    batch = make_batch(model, masked=True)
    with torch.no_grad():
        logits = model(**batch).logits
    kept = batch["labels"] != -100
    assert compute_loss_in_chunks(model)
    output = model(**batch, token_scores=True)
    expected = torch.nn.functional.cross_entropy(logits[kept], batch["labels"][kept], reduction="none")
    assert not output.loss.requires_grad
    torch.testing.assert_close(output.token_nll, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(output.token_correct, logits[kept].argmax(-1) == batch["labels"][kept])
    assert output.loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "adapter"),
    [("t5", None), ("bart with bias", "lora"), ("t5", "prompt tuning"), slow("bart with bias", None)],
)
def test_in_bfloat16_the_loss_is_that_of_float32_but_for_rounding(name, adapter):
    model = MODELS[name]()
    if adapter is not None:
        model = with_adapter(model, ADAPTERS[adapter]())
    batch = make_batch(model)
    expected, gradients = loss_and_gradients(model, batch)
    assert compute_loss_in_chunks(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss, found = loss_and_gradients(model, batch)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    one, other = (
        torch.cat([values[name].flatten() for name in sorted(gradients)])
        for values in (found, gradients)
    )  # fmt: skip
    assert torch.cosine_similarity(one, other, dim=0) > 0.99


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_training_step_keeps_no_cache_and_no_logits(name):
    model = MODELS[name]()
    batch = make_batch(model)
    assert model.config.use_cache, "the model would keep one if it were not told"
    assert compute_loss_in_chunks(model)
    output = model(**batch, output_hidden_states=True)
    assert set(output) == {
        "loss", "decoder_hidden_states", "encoder_last_hidden_state", "encoder_hidden_states"
    }  # fmt: skip
    assert output["loss"] is output[0]


@pytest.mark.parametrize("name", ["t5", "bart with bias"])
def test_without_labels_the_model_does_what_it_did(name):
    model = MODELS[name]()
    batch = make_batch(model)
    sources = {key: batch[key] for key in ("input_ids", "attention_mask")}
    untouched = copy.deepcopy(model)
    assert compute_loss_in_chunks(model)
    with torch.no_grad():
        model(**batch)
        decoder_input_ids = batch["labels"].clamp(min=5)
        expected = untouched(**sources, decoder_input_ids=decoder_input_ids).logits
        assert torch.equal(model(**sources, decoder_input_ids=decoder_input_ids).logits, expected)
        generated = [one.generate(**sources, max_new_tokens=8, do_sample=False) for one in (model, untouched)]
    assert torch.equal(*generated)


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.num_elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.num_elements = max(self.num_elements, tensor.numel())
        return result


@pytest.mark.parametrize("adapter", [None, "prompt tuning"])
@pytest.mark.parametrize("name", ["t5", "bart with bias"])
def test_no_tensor_is_as_large_as_the_logits_of_the_labelled_positions(name, adapter):
    model = MODELS[name]()
    if adapter is not None:
        model = with_adapter(model, ADAPTERS[adapter]())
    # sources short enough and rows many enough that nothing else comes near
    batch = make_batch(model, rows=24, sources=6, targets=12)
    num_logits = (batch["labels"] != -100).sum().item() * model.config.vocab_size
    largest = []
    for chunked in (False, True):
        if chunked:
            assert compute_loss_in_chunks(model)
        with LargestTensor() as watched:
            model(**batch).loss.backward()
        largest.append(watched.num_elements)
    assert largest[0] >= batch["labels"].numel() * model.config.vocab_size, "the logits of all positions were seen"
    assert largest[1] < num_logits / 2


def test_a_model_that_does_something_unknown_to_its_logits_is_left_alone():
    class Tempered(T5ForConditionalGeneration):
        def forward(self, labels=None, **inputs):
            if labels is not None:
                inputs.setdefault("decoder_input_ids", self.prepare_decoder_input_ids_from_labels(labels))
            output = super().forward(**inputs)
            output.logits = output.logits / 2
            if labels is not None:
                output.loss = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), labels.flatten())
            return output

    model = Tempered.from_pretrained(resolve("builtin:tiny-t5"))
    batch = make_batch(model)
    before = model(**batch).loss
    assert not compute_loss_in_chunks(model)
    assert "forward" not in vars(model)
    assert torch.equal(model(**batch).loss, before)
