"""Losses of saved models by a plain loop over transformers, apart from everything that `ftkit eval` is made of."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fit.models import hole_pair, masked_batch, padded
from fit.plants import Row

ROWS = 64


def load(folder: Path, task: str) -> tuple[Any, Any]:
    """(model, tokenizer) of a base or of a run's model folder, adapters included."""
    import transformers

    kind = transformers.AutoModelForCausalLM if task == "causal_lm" else transformers.AutoModelForSeq2SeqLM
    adapter = folder / "adapter_config.json"
    if not adapter.is_file():
        return kind.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)
    from peft import PeftModel

    base = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
    model = PeftModel.from_pretrained(kind.from_pretrained(base), folder)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(base)


def text_loss(folder: Path, texts: Sequence[str]) -> float:
    """Mean nats a token of a causal language model."""
    model, tokenizer = load(folder, "causal_lm")
    end = tokenizer.eos_token_id
    ids = [[*tokenizer.encode(text)[:63], end] for text in texts]
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(ids), ROWS):
            batch = padded(ids[start : start + ROWS], end)
            labels = padded(ids[start : start + ROWS], -100)[:, 1:]
            # a learnt prompt puts positions of its own before the text
            logits = model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits[:, -batch.shape[1] :][:, :-1]
            total += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum"))
            count += int((labels != -100).sum())
    return total / count


def pair_loss(folder: Path, rows: Sequence[Row]) -> float:
    """Mean nats a target token of an encoder-decoder."""
    model, tokenizer = load(folder, "seq2seq")
    pairs = [(tokenizer.encode(row["source"])[:48], tokenizer.encode(row["target"])[:48]) for row in rows]
    return _loss_of_pairs(model, pairs, tokenizer.pad_token_id)


def hole_loss(folder: Path, texts: Sequence[str]) -> float:
    """Mean nats a token with which an encoder-decoder fills holes in texts; the same holes for every model."""
    model, tokenizer = load(folder, "seq2seq")
    draw = random.Random(9)
    rows = [tokenizer.encode(text, add_special_tokens=False)[:40] for text in texts]
    return _loss_of_pairs(model, [hole_pair(tokenizer, row, draw=draw) for row in rows], tokenizer.pad_token_id)


def _loss_of_pairs(model: Any, pairs: Sequence[tuple[list[int], list[int]]], pad: int) -> float:
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(pairs), ROWS):
            some = pairs[start : start + ROWS]
            ids, labels = padded([source for source, _ in some], pad), padded([target for _, target in some], -100)
            logits = model(input_ids=ids, attention_mask=(ids != pad).long(), labels=labels).logits
            total += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum"))
            count += int((labels != -100).sum())
    return total / count


def refitted_mask_loss(encoder: Path, base: Path, texts: Sequence[str], *, steps: int = 30) -> float:
    """Nats a masked token once a fresh copy of the base's head has been fitted to a model's encoder.

    A finetuned encoder whose vectors have merely turned is no encoder that forgot: the head follows it for some steps
    before it is measured, on half of the texts, and the other half measures.
    """
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.BertForMaskedLM.from_pretrained(base)
    if encoder != base:
        from ftkit.models.classifier import open_classifier

        tuned: Any = open_classifier(encoder, use_cpu=True).module.model
        tuned = tuned.merge_and_unload() if hasattr(tuned, "merge_and_unload") else tuned
        model.bert.load_state_dict(tuned.bert.state_dict(), strict=False)
    draw = random.Random(10)
    rows = [tokenizer.encode(text, truncation=True, max_length=32) for text in texts]
    half = len(rows) // 2
    head = model.cls.parameters()
    optimizer = torch.optim.AdamW([weights for weights in head if weights.requires_grad], lr=2e-3)
    for step in range(steps):
        some = [rows[(step * 16 + n) % half] for n in range(16)]
        batch = masked_batch(tokenizer, some, draw=draw)
        model(**batch).loss.backward()
        optimizer.step()
        model.zero_grad()
    with torch.inference_mode():
        batch = masked_batch(tokenizer, rows[half:], draw=random.Random(11))
        return float(model.eval()(**batch).loss)


def class_outputs(run: Path, rows: Sequence[Row]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(nats of the right label (N,), label numbers that a run's classifier predicts (N,))."""
    from ftkit.tasks import classification

    found = classification.read_back(run, rows, max_length=64)
    names = list(found.label_names)
    labels = np.array([names.index(row["label"]) for row in rows])
    logits = found.outputs.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_probabilities[np.arange(len(rows)), labels], logits.argmax(axis=1)


def greedy(folder: Path, task: str, prompts: Sequence[str], *, max_new_tokens: int = 32) -> list[str]:
    """What a model writes after each prompt, or for each source, taking the likeliest token each time."""
    model, tokenizer = load(folder, task)
    written = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer.encode(prompt)])
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            )  # fmt: skip
        fresh = out[0] if task == "seq2seq" else out[0, ids.shape[1] :]
        written.append(tokenizer.decode(fresh, skip_special_tokens=True).strip())
    return written
