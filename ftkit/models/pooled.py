"""An encoder, a pooling and one linear layer as a folder that sentence-transformers loads as it is.

`SentenceTransformer(folder).encode(texts)` gives the logits, and `config.json` the names of the labels. Nothing in the
folder is pickled and no code of ftkit is needed to use it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ftkit.models.checkpoint import Checkpoint, Pooling
from ftkit.models.download import TOKENIZER_FILES
from ftkit.storage import write_json

POOLING_MODES = {"first_token": "cls", "mean": "mean", "max": "max"}
"""Our name of a pooling -> sentence-transformers' name."""


@dataclass(frozen=True)
class PooledFolder:
    """What such a folder says beside its encoder: pooling, weight (K, D), bias (K,), and how many tokens are kept."""

    pooling: Pooling
    weight: torch.Tensor
    bias: torch.Tensor
    max_length: int


def save_pooled(target: Path, checkpoint: Checkpoint, head: PooledFolder, *, label_names: Sequence[str]) -> None:
    """Fill the empty folder `target`; the frozen encoder's weight files are copied byte for byte.

    The pooling is any kind but `cls`, which is the architecture's own head.
    """
    for file in [*checkpoint.weight_files, *checkpoint.folder.glob("*.safetensors.index.json")]:
        shutil.copyfile(file, target / file.name)
    for name in TOKENIZER_FILES:
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, target / name)
    labels = {
        "num_labels": len(label_names),
        "id2label": {str(index): name for index, name in enumerate(label_names)},
        "label2id": {name: index for index, name in enumerate(label_names)},
    }
    write_json(target / "config.json", {**checkpoint.config, **labels})
    write_json(target / "sentence_bert_config.json", {"max_seq_length": head.max_length, "do_lower_case": False})
    write_json(target / "config_sentence_transformers.json", {"model_type": "SentenceTransformer"})
    _write_modules(target, head)


def _write_modules(target: Path, head: PooledFolder) -> None:
    num_labels, width = head.weight.shape
    names = ["Transformer", "Pooling", *(["Normalize"] if head.pooling.normalize else []), "Dense"]
    folders = ["", *(f"{index}_{name}" for index, name in enumerate(names) if index > 0)]
    modules = [
        {"idx": index, "name": str(index), "path": folder, "type": f"sentence_transformers.models.{name}"}
        for index, (name, folder) in enumerate(zip(names, folders, strict=True))
    ]
    write_json(target / "modules.json", modules)
    for folder in folders[1:]:
        (target / folder).mkdir()
    modes = {
        f"pooling_mode_{mode}": POOLING_MODES[head.pooling.kind] == short
        for mode, short in [("cls_token", "cls"), ("mean_tokens", "mean"), ("max_tokens", "max")]
    }
    write_json(target / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})
    dense = {
        "in_features": width,
        "out_features": num_labels,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write_json(target / folders[-1] / "config.json", dense)
    tensors = {"linear.weight": head.weight.contiguous(), "linear.bias": head.bias.contiguous()}
    save_file(tensors, target / folders[-1] / "model.safetensors", metadata={"format": "pt"})


def read_pooled(folder: Path) -> PooledFolder | None:
    """Read such a folder; None when it ends in no classification layer, hence is something else."""
    checkpoint = Checkpoint(str(folder), folder)
    if not (folder / "modules.json").is_file() or "id2label" not in checkpoint.config:
        return None
    last = json.loads((folder / "modules.json").read_text(encoding="utf-8"))[-1]
    pooling = checkpoint.own_pooling()
    if pooling is None or not str(last["type"]).endswith("Dense"):
        return None
    tensors = load_file(folder / str(last["path"]) / "model.safetensors")
    weight, bias = tensors["linear.weight"], tensors["linear.bias"]
    if len(weight) != len(checkpoint.config["id2label"]):
        return None
    length = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    return PooledFolder(pooling, weight, bias, int(length))


def pool(
    hidden: torch.Tensor, *, tokens: Literal["first", "mean", "max"], normalize: bool, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Token vectors to one vector: hidden (B, T, D) -> (B, D), in float32.

    Args:
        tokens: the first token's vector, the mean, or the largest value of each dimension.
        normalize: divide by the Euclidean norm.
        mask: (B, T), 1 for real tokens; None when there is no padding.

    Source:
        Reimers and Gurevych 2019 (Sentence-BERT), section 3; the same arithmetic as sentence-transformers' Pooling.
    """
    hidden = hidden.float()
    if tokens == "first":
        pooled = hidden[:, 0]
    elif mask is None:
        pooled = hidden.mean(dim=1) if tokens == "mean" else hidden.amax(dim=1)
    elif tokens == "mean":
        weights = mask.to(hidden.dtype).unsqueeze(-1)
        pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
    else:
        pooled = hidden.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)
    return nn.functional.normalize(pooled, dim=-1) if normalize else pooled
