"""Tokens that a recipe adds are one token each, have rows of their own, and are there wherever the model is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.commands.generate import generate
from ftkit.commands.predict import predict
from ftkit.errors import UserError
from ftkit.models.saved_lm import load_saved_lm
from ftkit.progress import Silent
from ftkit.training.outcome import TrainResult
from tests.fixtures.tiers import slow

Train = Callable[..., TrainResult]
TAGS = {"data__add_tokens": "['[tag]']", "data__add_special_tokens": "['<subj>', '<obj>']"}
TOKENS = ["[tag]", "<subj>", "<obj>"]
TARGET = "<subj> cat [tag] <obj> dog"


def lengths(tokenizer: Any) -> list[int]:
    return [len(tokenizer(token, add_special_tokens=False)["input_ids"]) for token in TOKENS]


@pytest.mark.parametrize("family", ["bart", slow("t5")])
def test_an_encoder_decoder_writes_them_as_it_was_measured(family: str, train_pairs: Train, tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    data, reporter, steps = tmp_path / "data.jsonl", Silent(), {"bart": 40, "t5": 120}[family]
    data.write_text("".join(json.dumps({"source": f"say {number}", "target": TARGET}) + "\n" for number in range(8)))
    run = train_pairs(
        family=family,
        data__train_file=data,
        data__validation_file=data,
        training__max_steps=steps,
        training__eval_steps=steps,
        training__learning_rate=0.02,
        generation__max_new_tokens=20,
        evaluation__metrics="[token_accuracy, exact_match]",
        reporter=reporter,
        **TAGS,
    ).run
    assert "3 tokens are added to the vocabulary, with embeddings of their own" in reporter.messages
    metrics = json.loads(run.metrics_file.read_text())["validation"]
    assert metrics["token_accuracy"]["value"] == metrics["exact_match"]["value"] == 1.0
    said = generate(run.path, "say 3", use_cpu=True)[0]["generated"]
    assert said.split() == TARGET.split()
    tokenizer: Any = AutoTokenizer.from_pretrained(run.model_dir)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(run.model_dir)
    assert lengths(tokenizer) == [1, 1, 1]
    assert max(tokenizer.get_vocab().values()) < len(model.get_input_embeddings().weight)


def test_adapters_train_them_whole_and_are_loaded_by_the_lines_of_the_card(train_lm: Train) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    reporter = Silent()
    run = train_lm(
        model__name_or_path="builtin:tiny-olmo2",
        training__max_steps=2,
        method__r=2,
        training__learning_rate=0.1,
        reporter=reporter,
        **TAGS,
    ).run
    assert "trained whole, for the tokens that are added: model.embed_tokens, lm_head" in reporter.messages
    saved = load_saved_lm(run.model_dir, dtype=torch.float32, device=torch.device("cpu"))
    tokenizer: Any = AutoTokenizer.from_pretrained(run.model_dir)
    assert lengths(tokenizer) == lengths(saved.tokenizer) == [1, 1, 1]
    other: Any = AutoPeftModelForCausalLM.from_pretrained(run.model_dir)
    ids = tokenizer(f"What of {TARGET}?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        ours: Any = saved.model
        difference = (ours(input_ids=ids).logits - other.eval()(input_ids=ids).logits).abs().max()
    assert difference < 1e-5


def test_a_classifier_reads_them_and_labels_as_it_was_measured(classifier_recipe: Train, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    run = classifier_recipe(tmp_path, "run", method__type="full", training__num_train_epochs=1, **TAGS).run
    rows = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    found = predict(run.path, [row["text"] for row in rows], use_cpu=True)
    assert [row["label"] for row in found] == [row["label"] for row in rows]
    assert lengths(AutoTokenizer.from_pretrained(run.model_dir)) == [1, 1, 1]


@pytest.mark.parametrize("method", ["ia3", "prompt_tuning", "prefix_tuning"])
def test_a_method_that_leaves_embeddings_as_they_are_is_refused(method: str, train_pairs: Train) -> None:
    with pytest.raises(UserError, match="leaves the embeddings as they are"):
        train_pairs(method__type=method, **TAGS)


def test_a_frozen_encoder_an_adapter_of_a_classifier_and_tied_embeddings_are_refused(
    classifier_recipe: Train, train_pairs: Train, tmp_path: Path
) -> None:
    for method, words in (("frozen", "leaves the embeddings"), ("lora", "by method full alone")):
        with pytest.raises(UserError, match=words):
            classifier_recipe(tmp_path, method, method__type=method, **TAGS)
    with pytest.raises(UserError, match="no adapter holds new ones"):
        train_pairs(method__type="lora", **TAGS)
