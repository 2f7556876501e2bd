"""The three base models: under a million parameters each, pretrained once on local text, kept in a cache."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from fit import architectures, pairs
from fit.home import home_texts

VERSION = 1
"""Of the bases; a change of anything here asks for another."""
RATES = {"causal_lm": 4e-3, "classification": 1.2e-3, "seq2seq": 2e-3}
STEPS = {"causal_lm": 700, "classification": 900, "seq2seq": 800}
"""Pretraining steps: about a minute of one core each."""
ROWS, LENGTH = 24, 40
"""Sequences a step and tokens of each."""

Batch = dict[str, torch.Tensor]


def base_model(task: str, cache: Path) -> Path:
    """The folder of a task's base, pretrained on first use.

    Args:
        task: causal_lm, classification or seq2seq.
        cache: where bases are kept.
    """
    folder = cache / f"{task}-v{VERSION}"
    if (folder / "model.safetensors").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    texts, _ = home_texts(seed=1)
    tokenizer = architectures.make_tokenizer(task, texts)
    torch.manual_seed(0)
    model = architectures.make_model(task, tokenizer)
    batches = {"causal_lm": _causal, "classification": _masked, "seq2seq": _spans}[task]
    _pretrain(model, batches(tokenizer, texts), steps=STEPS[task], rate=RATES[task])
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _pretrain(model: Any, batches: Iterator[Batch], *, steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    model.train()
    for step in range(steps):
        share = min(1.0, (step + 1) / 40) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        loss = model(**next(batches)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 < 2 or step == steps - 1:
            print(f"pretraining {type(model).__name__}: step {step}, loss {float(loss.detach()):.2f}", flush=True)
    model.eval()


def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows of ids as one tensor (N, longest)."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def _draws(texts: Sequence[str], encode: Callable[[str], list[int]]) -> Iterator[list[list[int]]]:
    draw = random.Random(3)
    ids = [encode(text) for text in texts]
    while True:
        chosen = []
        for row in draw.choices(ids, k=ROWS):
            start = draw.randrange(max(1, len(row) - LENGTH + 1))
            chosen.append(row[start : start + LENGTH])
        yield chosen


def _causal(tokenizer: Any, texts: Sequence[str]) -> Iterator[Batch]:
    for rows in _draws(texts, lambda text: [*tokenizer.encode(text), tokenizer.eos_token_id]):
        ids, labels = padded(rows, tokenizer.eos_token_id), padded(rows, -100)
        yield {"input_ids": ids, "labels": labels, "attention_mask": (labels != -100).long()}


def masked_batch(tokenizer: Any, rows: Sequence[Sequence[int]], *, draw: random.Random, share: float = 0.15) -> Batch:
    """A share of the tokens replaced by the mask, as BERT was taught; none of the special ones."""
    special = set(tokenizer.all_special_ids)
    inputs, labels = [], []
    for row in rows:
        hidden = [token not in special and draw.random() < share for token in row]
        inputs.append([tokenizer.mask_token_id if hide else t for t, hide in zip(row, hidden, strict=True)])
        labels.append([t if hide else -100 for t, hide in zip(row, hidden, strict=True)])
    ids = padded(inputs, tokenizer.pad_token_id)
    return {"input_ids": ids, "labels": padded(labels, -100), "attention_mask": (ids != tokenizer.pad_token_id).long()}


def _masked(tokenizer: Any, texts: Sequence[str]) -> Iterator[Batch]:
    draw = random.Random(4)
    for rows in _draws(texts, lambda text: tokenizer.encode(text, add_special_tokens=False)):
        whole = [[tokenizer.cls_token_id, *row, tokenizer.sep_token_id] for row in rows]
        yield masked_batch(tokenizer, whole, draw=draw, share=0.25)


def hole_pair(tokenizer: Any, row: Sequence[int], *, draw: random.Random) -> tuple[list[int], list[int]]:
    """Source with one or two holes and the target that fills them, as T5 was taught."""
    source, target, place = [], [], 0
    for number in range(2 if len(row) > 12 else 1):
        start = min(len(row) - 1, place + draw.randrange(1, max(2, len(row) // 2)))
        end = min(len(row), start + draw.randint(1, 3))
        hole = tokenizer.convert_tokens_to_ids(f"<extra_id_{number}>")
        source += [*row[place:start], hole]
        target += [hole, *row[start:end]]
        place = end
    return [*source, *row[place:], tokenizer.eos_token_id], [*target, tokenizer.eos_token_id]


def _spans(tokenizer: Any, texts: Sequence[str]) -> Iterator[Batch]:
    draw, named = random.Random(5), pairs.named_pairs(seed=5)
    for number, rows in enumerate(_draws(texts, lambda text: tokenizer.encode(text, add_special_tokens=False))):
        if number % 2:
            both = [next(named) for _ in rows]
            taken = [(tokenizer.encode(source), tokenizer.encode(target)) for source, target in both]
        else:
            taken = [hole_pair(tokenizer, row, draw=draw) for row in rows]
        ids = padded([source for source, _ in taken], tokenizer.pad_token_id)
        labels = padded([target for _, target in taken], -100)
        yield {"input_ids": ids, "labels": labels, "attention_mask": (ids != tokenizer.pad_token_id).long()}
