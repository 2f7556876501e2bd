"""Faults that make a run meaningless, told from its files: weights that are not finite, or never moved."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import torch

from ftkit.evaluation.subject import Subject


def find_faults(subject: Subject) -> list[str]:
    """What is exactly wrong with the weights and the record of a run, a sentence each."""
    found = []
    for name, tensor in _tensors(subject.model_dir):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            found.append(f"the weights of {name} are not finite")
            break
    if subject.fit.get("num_steps") == 0:
        found.append("no step was done")
    if subject.run is not None and (reason := _unmoved(subject)):
        found.append(reason)
    broken = [
        point.step
        for point in subject.curve
        if not _finite(*(one.loss for one in (point.validation, point.train) if len(one)))
    ]
    if broken:
        found.append(f"the loss was not finite at step {broken[0]:,}")
    return found


def _unmoved(subject: Subject) -> str:
    """Why nothing was trained, empty where something was."""
    method = subject.recipe.method
    if method.start is not None:
        ends = [tensor for name, tensor in _tensors(subject.model_dir) if method.start.part in name]
        if ends and all(bool((tensor == method.start.value).all()) for tensor in ends):
            return f"no adapter moved: {method.start.in_words}"
    if method.trains == "weights":
        before = {_hash(tensor) for _, tensor in _tensors(subject.checkpoint.folder)}
        after = {_hash(tensor) for _, tensor in _tensors(subject.model_dir)}
        # a new head is moved by its making alone
        if before and len(after - before) == 0:
            return "no weight moved: model/ holds the base's"
    return ""


def unchanged_share(base: Path, model: Path) -> tuple[int, int]:
    """How many of the base's tensors occur bit for bit in a model, and how many there are."""
    after = {_hash(tensor) for _, tensor in _tensors(model)}
    before = [_hash(tensor) for _, tensor in _tensors(base)]
    return sum(one in after for one in before), len(before)


def drift(base: Path, model: Path) -> dict[str, float]:
    """Relative distance of a model's weights from its base's, by group of layers; empty for adapters.

    |W - W0| / |W0| over all matrices of a group, Frobenius norms.
    """
    before = dict(_tensors(base))
    moved: dict[str, tuple[float, float]] = {}
    for name, tensor in _tensors(model):
        start = before.get(name)
        if start is None or start.shape != tensor.shape or not tensor.is_floating_point():
            continue
        change, size = float((tensor.float() - start.float()).norm() ** 2), float(start.float().norm() ** 2)
        group = _group(name)
        known = moved.get(group, (0.0, 0.0))
        moved[group] = (known[0] + change, known[1] + size)
    return {group: (change / size) ** 0.5 for group, (change, size) in moved.items() if size > 0}


def _group(name: str) -> str:
    """`layer 3` of `model.layers.3.mlp.up_proj.weight`, else `embeddings` or `rest`.

    Example:
        >>> _group("transformer.h.11.attn.c_attn.weight"), _group("model.embed_tokens.weight"), _group("lm_head.weight")
        ('layer 11', 'embeddings', 'rest')
    """
    parts = name.split(".")
    numbers = [part for part in parts if part.isdigit()]
    if numbers:
        side = "decoder " if "decoder" in parts else "encoder " if "encoder" in parts and "layer" not in parts else ""
        return f"{side}layer {numbers[0]}"
    return "embeddings" if any("emb" in part or part in {"wte", "wpe", "shared"} for part in parts) else "rest"


def _finite(*values: float) -> bool:
    return all(value == value and abs(value) != float("inf") for value in values)


def _hash(tensor: torch.Tensor) -> str:
    data = tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.reshape(1).contiguous().view(torch.uint8)
    return blake2b(data.numpy().tobytes(), digest_size=16).hexdigest()


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import safe_open

    for file in sorted(folder.rglob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                yield name, weights.get_tensor(name)
