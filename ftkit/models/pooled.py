"""An encoder, a pooling and one linear layer as a folder that sentence-transformers loads as it is.

`SentenceTransformer(folder).encode(texts)` gives the logits, and `label_names.json` the names of the labels. Nothing in
the folder is pickled and no code of ftkit is needed to use it.

The encoder lies in a folder of its own: beside a config.json transformers would take the whole for one of its own
classifiers and answer with a head that nobody trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ftkit.copies import copy_files
from ftkit.models.checkpoint import LABELS_FILE, MODULES_FILE, Checkpoint, Pooling
from ftkit.models.download import TOKENIZER_FILES, refuse_damaged
from ftkit.models.families import read_object
from ftkit.models.reading.pretrained import read_tokenizer, read_weights
from ftkit.storage import read_json_object, write_json

ENCODER_FOLDER, LENGTH_FILE = "0_Transformer", "sentence_bert_config.json"
POOLING_MODES = {"first_token": "cls", "mean": "mean", "max": "max"}
"""Our name of a pooling -> sentence-transformers' name."""


@dataclass(frozen=True)
class PooledFolder:
    """What such a folder says beside its encoder.

    Attributes:
        pooling: of the token vectors.
        weight: (K, D).
        bias: (K,).
        max_length: tokens that are kept.
        encoder: folder of the encoder, below the whole.
    """

    pooling: Pooling
    weight: torch.Tensor
    bias: torch.Tensor
    max_length: int
    encoder: str = ENCODER_FOLDER


def save_pooled(
    target: Path,
    checkpoint: Checkpoint,
    head: PooledFolder,
    *,
    label_names: Sequence[str],
    trust_remote_code: bool = False,
) -> None:
    """Fill the empty folder `target`; the frozen encoder's weight files are copied byte for byte.

    Of a base that is a classifier the head stays behind. The pooling is any kind but `cls`, which is the
    architecture's own head.
    """
    encoder = target / ENCODER_FOLDER
    encoder.mkdir()
    if checkpoint.head_labels:
        _write_bare_encoder(encoder, checkpoint, trust_remote_code=trust_remote_code)
    else:
        weights = [*checkpoint.weight_files, *checkpoint.folder.glob("*.safetensors.index.json")]
        copy_files(checkpoint.folder, [file.name for file in weights], encoder)
        write_json(encoder / "config.json", {**checkpoint.config})
    _write_tokenizer(encoder, checkpoint, trust_remote_code=trust_remote_code)
    labels = {
        "num_labels": len(label_names),
        "id2label": {str(index): name for index, name in enumerate(label_names)},
        "label2id": {name: index for index, name in enumerate(label_names)},
    }
    write_json(target / LABELS_FILE, labels)
    write_json(encoder / LENGTH_FILE, {"max_seq_length": head.max_length, "do_lower_case": False})
    write_json(target / "config_sentence_transformers.json", {"model_type": "SentenceTransformer"})
    _write_modules(target, head)


def _write_bare_encoder(target: Path, checkpoint: Checkpoint, *, trust_remote_code: bool) -> None:
    from transformers import AutoModel

    found = read_weights(AutoModel, checkpoint, what="an encoder", dtype="auto", trust_remote_code=trust_remote_code)
    model = found.model
    # the names of a head that is left behind
    for name in ("id2label", "label2id", "problem_type"):
        model.config.__dict__.pop(name, None)
    model.save_pretrained(target)


def _write_tokenizer(target: Path, checkpoint: Checkpoint, *, trust_remote_code: bool) -> None:
    """The tokenizer's files, unless it could not fill up the rows of a batch behind their ends."""
    settings = read_object(checkpoint.folder / "tokenizer_config.json")
    named = settings | read_object(checkpoint.folder / "special_tokens_map.json")
    if named.get("pad_token") is not None and settings.get("padding_side", "right") == "right":
        copy_files(checkpoint.folder, TOKENIZER_FILES, target)
        return
    tokenizer = read_tokenizer(checkpoint, trust_remote_code=trust_remote_code)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(target)


def _write_modules(target: Path, head: PooledFolder) -> None:
    num_labels, width = head.weight.shape
    names = ["Transformer", "Pooling", *(["Normalize"] if head.pooling.normalize else []), "Dense"]
    folders = [f"{index}_{name}" for index, name in enumerate(names)]
    modules = [
        {"idx": index, "name": str(index), "path": folder, "type": f"sentence_transformers.models.{name}"}
        for index, (name, folder) in enumerate(zip(names, folders, strict=True))
    ]
    write_json(target / MODULES_FILE, modules)
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
    if not (folder / MODULES_FILE).is_file() or not checkpoint.labels:
        return None
    first, last = checkpoint.modules[0], checkpoint.modules[-1]
    pooling = checkpoint.own_pooling()
    if pooling is None or not str(last["type"]).endswith("Dense"):
        return None
    encoder = str(first["path"])
    for part in (encoder, str(last["path"])):
        refuse_damaged(folder / part)
    tensors = load_file(folder / str(last["path"]) / "model.safetensors")
    weight, bias = tensors["linear.weight"], tensors["linear.bias"]
    if len(weight) != len(checkpoint.labels):
        return None
    length = read_json_object(folder / encoder / LENGTH_FILE, {"max_seq_length": int}).get("max_seq_length")
    return PooledFolder(pooling, weight, bias, length or checkpoint.max_length(None, pooling=pooling), encoder)


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
