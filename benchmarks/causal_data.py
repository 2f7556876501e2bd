"""What the language-model benchmark learns: the functions of this Python's standard library, and a model to learn them.

Real text that every machine has: a function's signature and docstring ask for its body. Lengths are as uneven as those
of users' data, from a few tokens to several hundred.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"}
VOCABULARY = 8192
"""Tokens that the byte-level BPE learns from the standard library. The model keeps GPT-2's 50,257 rows: the work of the
output layer is that of the full vocabulary, whichever tokens occur."""
LONGEST = 768
"""Tokens of the longest function that is taken."""
END = "<|endoftext|>"


class Material(NamedTuple):
    """What all arms share.

    Attributes:
        model: folder of the checkpoint, tokenizer included.
        train, validation: JSON lines with `prompt` and `completion`.
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
    for prompt, completion in rows:
        size = len(tokenizer(prompt)["input_ids"]), len(tokenizer(completion)["input_ids"]) + 1
        if sum(size) <= LONGEST:
            chosen.append((prompt, completion))
            counts.append(size)
        if len(chosen) == num_train + num_validation:
            break
    validation, train = chosen[:num_validation], chosen[num_validation:]
    trained = counts[num_validation:]
    total = sum(map(sum, trained))
    facts = {
        "examples": len(train),
        "tokens": total,
        "tokens_an_example": total / len(train),
        "learnt_share": sum(learnt for _, learnt in trained) / total,
        "validation_examples": len(validation),
        "vocabulary_of_the_tokenizer": len(tokenizer),
    }
    return Material(
        model, _write(folder / "train.jsonl", train), _write(folder / "validation.jsonl", validation), facts
    )


def write_model(folder: Path, sources: list[str], *, dropout: float, seed: int) -> Any:
    """GPT-2 small's shape with random weights, and a tokenizer; returns the tokenizer."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(sources, vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=END)
    end = tokenizer.eos_token_id
    torch.manual_seed(seed)
    shares = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), dropout)
    GPT2LMHeadModel(GPT2Config(bos_token_id=end, eos_token_id=end, **shares)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows with `prompt` and `completion`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tokenized(tokenizer: Any, row: dict[str, str]) -> tuple[list[int], list[int]]:
    """Token ids of an example with its end token, and its labels: -100 for the prompt."""
    prompt = tokenizer(row["prompt"])["input_ids"]
    completion = [*tokenizer(row["completion"])["input_ids"], tokenizer.eos_token_id]
    return prompt + completion, [-100] * len(prompt) + completion


def read_standard_library() -> tuple[list[str], list[tuple[str, str]]]:
    """Its source files, and (signature with docstring, body) of its documented functions, each once."""
    sources, rows = [], {}
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if LEFT_OUT.intersection(path.relative_to(root).parts):
            continue
        try:
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError):
            continue
        sources.append(source)
        rows |= dict.fromkeys(_functions(tree, source.splitlines(keepends=True)))
    return sources, list(rows)


def _functions(tree: ast.AST, lines: list[str]) -> Iterator[tuple[str, str]]:
    """(signature and docstring, body) of every documented function that does something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
            end = node.body[0].end_lineno
            yield "".join(lines[node.lineno - 1 : end]), "".join(lines[end : node.end_lineno])


def _write(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = (json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
