"""What the seq2seq benchmark learns: a function's body from its signature and docstring, with a model of T5's shape.

Real text that every machine has, the running Python's standard library, as uneven in length as users' data.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from causal_data import VOCABULARY, read_standard_library

LONGEST = {"source": 256, "target": 512}
"""Tokens of the longest source and the longest target that are taken."""
ROWS_OF_THE_MODEL = 32_128
"""Vocabulary of T5: the output layer costs what it costs there, whichever tokens occur."""


class Material(NamedTuple):
    """What all arms share.

    Attributes:
        model: folder of the checkpoint, tokenizer included.
        train, validation: JSON lines with `source` and `target`.
        facts: counts of examples and tokens.
    """

    model: Path
    train: Path
    validation: Path
    facts: dict[str, Any]


def write_material(folder: Path, *, num_train: int, num_validation: int, dropout: float, seed: int) -> Material:
    """Train the tokenizer, make the model, choose the functions.

    Rows are ordered by a hash of their text, so that a smaller benchmark is a part of a larger one.
    """
    sources, rows = read_standard_library()
    model = folder / "model"
    tokenizer = write_model(model, sources, dropout=dropout, seed=seed)
    rows.sort(key=lambda row: hashlib.sha256("".join(row).encode()).digest())
    chosen: list[tuple[str, str]] = []
    counts: list[tuple[int, int]] = []
    for source, target in rows:
        size = len(tokenizer(source)["input_ids"]), len(tokenizer(text_target=target)["input_ids"])
        if size[0] <= LONGEST["source"] and size[1] <= LONGEST["target"]:
            chosen.append((source, target))
            counts.append(size)
        if len(chosen) == num_train + num_validation:
            break
    trained = counts[num_validation:]
    facts = {
        "examples": len(trained),
        "validation_examples": num_validation,
        "source_tokens_an_example": sum(source for source, _ in trained) / len(trained),
        "target_tokens_an_example": sum(target for _, target in trained) / len(trained),
        "vocabulary_of_the_tokenizer": len(tokenizer),
    }
    validation = _write(folder / "validation.jsonl", chosen[:num_validation])
    return Material(model, _write(folder / "train.jsonl", chosen[num_validation:]), validation, facts)


def write_model(folder: Path, sources: list[str], *, dropout: float, seed: int) -> Any:
    """t5-small's shape with random weights, and a tokenizer that ends every text with `</s>`; returns the tokenizer."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    bpe = ByteLevelBPETokenizer()
    special = ["<pad>", "</s>", "<unk>"]
    bpe.train_from_iterator(sources, vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    backend = bpe._tokenizer
    backend.post_processor = TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    names = dict(zip(("pad_token", "eos_token", "unk_token"), special, strict=True))
    # with token types, run_summarization.py's model would be given an input that T5 does not take
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], **names
    )
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=ROWS_OF_THE_MODEL,
        d_model=512,
        d_kv=64,
        d_ff=2048,
        num_layers=6,
        num_heads=8,
        dropout_rate=dropout,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows with `source` and `target`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tokenized(tokenizer: Any, row: dict[str, str]) -> dict[str, list[int]]:
    """`input_ids` of the source and `labels` of the target, as run_summarization.py makes them; neither is cut."""
    return {
        "input_ids": tokenizer(row["source"])["input_ids"],
        "labels": tokenizer(text_target=row["target"])["input_ids"],
    }


def _write(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = (json.dumps({"source": source, "target": target}) for source, target in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
