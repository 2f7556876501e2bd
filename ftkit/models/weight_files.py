"""Files of weights, looked at before a library trips over them."""

from __future__ import annotations

import json
from pathlib import Path

from ftkit.errors import UserError


def refuse_damaged(folder: Path) -> None:
    """Refuse a folder with a safetensors file that is cut short or is none, or whose shards lie outside of it.

    Headers alone are read.

    Raises:
        UserError: naming the file.
    """
    for index in sorted(folder.glob("*.safetensors.index.json")):
        _refuse_strays(index)
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"the weights are damaged: {error}", where=str(file), fix="copy or download the file again"
            ) from error


def refuse_pickled_adapter(folder: Path) -> None:
    """Refuse an adapter without safetensors weights: peft would read pickled ones in their place.

    Raises:
        UserError: they are missing.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise UserError(
            f"{folder} has no adapter_model.safetensors; pickled weights can run code, so they are not read",
            fix="train or export the adapter again",
        )


def _refuse_strays(index: Path) -> None:
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"the index of the weights cannot be read: {error}", where=str(index)) from error
    for shard in sorted(map(str, shards)):
        if Path(shard).name != shard or not (index.parent / shard).is_file():
            raise UserError(
                f"the index of the weights names {shard!r}, which is no file of this folder", where=str(index)
            )
