"""What peft leaves beside an adapter: adapter_config.json, read without peft and believed by no more than its types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftkit.storage import read_json_object, sha256_file, sha256_texts

ADAPTER_FILE = "adapter_config.json"
"""What makes a folder an adapter of peft."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"

ADAPTER_KINDS: dict[str, type | tuple[type, ...]] = {
    "peft_type": str,
    "task_type": str,
    "base_model_name_or_path": str,
    "revision": str,
    "r": int,
    "lora_alpha": (int, float),
    "num_virtual_tokens": int,
    "rank_pattern": dict,
    "modules_to_save": list,
    "target_modules": (list, str),
}
"""What an adapter_config.json holds under the keys that are read here."""


def adapter_settings(folder: Path) -> dict[str, Any]:
    """Read adapter_config.json.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    return read_json_object(folder / ADAPTER_FILE, ADAPTER_KINDS)


def adapter_hash(folder: Path) -> str:
    """SHA-256 over the settings and the weights of an adapter."""
    return sha256_texts([sha256_file(folder / name) for name in (ADAPTER_FILE, ADAPTER_WEIGHTS)])


def adapted_layers(folder: Path) -> list[str]:
    """Full names of the layers that an adapter has weights for, read from the head of its file."""
    from safetensors import safe_open

    with safe_open(folder / ADAPTER_WEIGHTS, "np") as weights:
        names = [name.removeprefix("base_model.model.") for name in weights.keys()]  # noqa: SIM118
    return sorted({name.partition(mark)[0] for name in names for mark in (".lora_A", ".ia3_l") if mark in name})
