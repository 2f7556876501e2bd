"""Every knob of LoRA on a classifier: what is saved, put on the unchanged base, gives the logits that were trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.encoders.loading import load_for_classification
from ftkit.errors import UserError
from ftkit.methods.lora import LoraMethod
from ftkit.models.builtin.builtin import resolve
from ftkit.models.causal import open_tokenizer
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.classifier import SequenceLogits, load_classifier, save_classifier
from ftkit.models.merging import probe_tokens
from ftkit.models.placement import count_parameters

TOKENS = probe_tokens(200)
LABELS = ("one", "two", "three")
KNOBS: dict[str, dict[str, Any]] = {
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"query": 2}, "alpha_pattern": {"query": 3, "layer.1.attention.self.key": 64}},
    "pissa by patterns": {"init_lora_weights": "pissa", "rank_pattern": {"query": 2}, "alpha_pattern": {"key": 3}},
    "one layer": {"layers_to_transform": [1]},
    "a module whole": {"modules_to_save": ["embeddings"]},
}


def adapted(family: str, **settings: Any) -> tuple[Checkpoint, Any]:
    checkpoint = Checkpoint(f"builtin:tiny-{family}", Path(resolve(f"builtin:tiny-{family}")))
    loaded = load_for_classification(checkpoint, label_names=LABELS, seed=0, trust_remote_code=False)
    torch.manual_seed(0)
    method = LoraMethod(type="lora", **{"r": 4, **settings})
    return checkpoint, method.attach_to_classifier(loaded.model, new_parameters=loaded.new_parameters)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = SequenceLogits(model.eval())(input_ids=TOKENS, attention_mask=torch.ones_like(TOKENS))
    return found


@pytest.mark.parametrize("knob", KNOBS)
def test_an_adapter_that_is_read_back_gives_the_logits_that_were_trained(knob: str, tmp_path: Path) -> None:
    checkpoint, model = adapted("bert", **KNOBS[knob])
    start = logits(model)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=TOKENS, labels=torch.arange(len(TOKENS)) % 3).loss.backward()
        optimizer.step()
    trained = logits(model)
    assert (trained - start).abs().max() > 1e-3
    save_classifier(model, tmp_path, base_name=str(checkpoint.folder))
    open_tokenizer(checkpoint, trust_remote_code=False).save_pretrained(tmp_path)
    again = load_classifier(tmp_path, device=torch.device("cpu"))
    inputs = {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)}
    with torch.no_grad():
        torch.testing.assert_close(again.module(**inputs), trained, rtol=0, atol=2e-5)


def test_layers_and_patterns_train_the_parameters_of_the_formula() -> None:
    width, inner, rank = 32, 64, 4
    layer = rank * (4 * 2 * width + 2 * (width + inner))
    whole = count_parameters(adapted("bert")[1]).trained
    assert whole - count_parameters(adapted("bert", layers_to_transform=[1])[1]).trained == layer + rank * 2 * width
    more = count_parameters(adapted("bert", rank_pattern={"query": 7})[1]).trained
    assert more - whole == 2 * (7 - rank) * 2 * width, "a query in each of two layers"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["qery"]}, r"method.target_modules: this model has no qery; did you mean query\?"),
        ({"modules_to_save": ["embedings"]}, r"this model has no embedings; did you mean embeddings\?"),
        ({"target_modules": ["query", "classifier"]}, "classifier would get an adapter and be trained whole"),
        ({"layers_to_transform": [2]}, "there is no layer 2; this model has layers 0 to 1"),
    ],
)
def test_a_name_or_number_that_a_classifier_does_not_have_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        adapted("bert", **settings)


def test_olora_is_refused_where_peft_cannot_decompose() -> None:
    with pytest.raises(UserError, match=r"decomposes linear layers alone, and .*c_attn is a Conv1D; use pissa"):
        adapted("gpt2", init_lora_weights="olora")
