"""T5 in fewer operations, and without padding, is the T5 of transformers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from ftkit.models.kernels.flat_pairs import lay_end_to_end
from ftkit.models.kernels.fused import use_fused_operations
from ftkit.models.kernels.fused_t5 import use_fused_t5
from ftkit.models.kernels.pair_layout import group_documents, lay_out

SIZE = {
    "vocab_size": 50,
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 3,
    "decoder_start_token_id": 0,
}
KINDS: dict[str, Any] = {
    "t5": lambda: T5ForConditionalGeneration(T5Config(**SIZE)),
    "gated": lambda: T5ForConditionalGeneration(
        T5Config(**SIZE, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
    "mt5": lambda: MT5ForConditionalGeneration(MT5Config(**SIZE)),
}
LENGTHS = ((7, 3), (2, 9), (11, 1), (5, 6))
"""Tokens of the sources and targets of a batch."""


def make(kind: str, adapter: str = "none") -> Any:
    torch.manual_seed(0)
    model = KINDS[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.config.dropout_rate = 0.0
    if adapter == "lora":
        model = get_peft_model(
            model, LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules="all-linear", init_lora_weights=False)
        )
    elif adapter == "prompt":
        config = PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4, num_transformer_submodules=1)
        model = get_peft_model(model, config)
    # dropout off, gradients as in training
    return model.eval()


def batch(*, left: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    rows = len(LENGTHS)
    ids = torch.zeros(rows, max(source for source, _ in LENGTHS), dtype=torch.int64)
    mask, labels = torch.zeros_like(ids), torch.full((rows, max(target for _, target in LENGTHS)), -100)
    for row, (source, target) in enumerate(LENGTHS):
        place = slice(ids.shape[1] - source, None) if left else slice(0, source)
        ids[row, place] = torch.randint(2, 50, (source,))
        mask[row, place] = 1
        labels[row, :target] = torch.randint(2, 50, (target,))
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def gradients(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    loss = model(**inputs).loss
    loss.backward()
    return float(loss.detach()), {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("adapter", ["none", "lora", "prompt"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_without_padding_loss_and_gradients_are_those_of_transformers(kind: str, adapter: str, left: bool) -> None:
    model = make(kind, adapter)
    fused = copy.deepcopy(model)
    use_fused_operations(fused)
    assert compute_loss_in_chunks(fused)
    expected, wanted = gradients(model, batch(left=left))
    found, got = gradients(fused, batch(left=left))
    assert found == pytest.approx(expected, rel=1e-5)
    assert got.keys() == wanted.keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        assert torch.allclose(got[name], gradient, rtol=1e-4, atol=1e-6 * largest), name


@pytest.mark.parametrize("kind", list(KINDS))
def test_with_activation_checkpointing_the_gradients_are_the_same(kind: str) -> None:
    plain, checkpointed = make(kind), make(kind)
    for model in (plain, checkpointed):
        use_fused_operations(model)
        assert compute_loss_in_chunks(model)
    checkpointed.gradient_checkpointing_enable()
    checkpointed.train()
    plain.train()
    for module in [*plain.modules(), *checkpointed.modules()]:
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    expected, wanted = gradients(plain, batch())
    found, got = gradients(checkpointed, batch())
    assert found == pytest.approx(expected, rel=1e-6)
    assert all(torch.allclose(got[name], gradient, rtol=1e-4, atol=1e-6) for name, gradient in wanted.items())


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_written_stays_the_same(kind: str) -> None:
    model = make(kind)
    fused = copy.deepcopy(model)
    assert use_fused_t5(fused) > 0
    inputs = {name: values for name, values in batch().items() if name != "labels"}
    for num_beams in (1, 3):
        options = {"max_new_tokens": 6, "num_beams": num_beams, "do_sample": False}
        assert torch.equal(model.generate(**inputs, **options), fused.generate(**inputs, **options))


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    model = make("t5")
    model.encoder.block[0].layer[1].DenseReluDense.dropout.p = 0.25
    layer = model.encoder.block[0].layer[1].DenseReluDense
    use_fused_operations(model)
    torch.manual_seed(3)
    states, outputs = torch.randn(1, 2000, 24), []
    layer.eval()
    expected = layer(states).detach()
    layer.train()
    outputs = torch.stack([layer(states).detach() for _ in range(30)])
    assert float((outputs.mean(dim=0) - expected).abs().mean()) < 0.25 * float((outputs[0] - expected).abs().mean())
    assert not torch.equal(outputs[0], outputs[1])


def test_a_batch_with_holes_or_unusual_inputs_stays_padded() -> None:
    model = make("t5")
    use_fused_operations(model)
    inputs, labels = batch(), batch()["labels"]
    given = {
        "input_ids": inputs["input_ids"],
        "attention_mask": inputs["attention_mask"].clone(),
        "decoder_input_ids": labels.clamp(min=0),
    }
    flat, _ = lay_end_to_end(model, given, labels)
    assert flat["input_ids"].shape == (1, sum(source for source, _ in LENGTHS))
    holed = given | {"attention_mask": given["attention_mask"].clone()}
    holed["attention_mask"][0, 2] = 0
    assert lay_end_to_end(model, holed, labels)[0] is holed
    cached = given | {"encoder_outputs": object()}
    assert lay_end_to_end(model, cached, labels)[0] is cached


def test_every_token_has_one_place_in_its_group() -> None:
    queries, keys = [9, 400, 10, 380, 1], [5, 400, 6, 400, 2]
    layout = lay_out(queries, keys, num_heads=2)
    assert sorted(document for group in group_documents(queries, keys) for document in group) == [0, 1, 2, 3, 4]
    for order, back, lengths in ((layout.queries, layout.from_queries, queries), (layout.keys, layout.from_keys, keys)):
        assert torch.equal(order[back], torch.arange(2 * sum(lengths)))
