"""What the JSON files of a model folder say, held against types and weights before a library believes it."""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.errors import UserError
from ftkit.storage import read_json, read_json_object

LEAST_WIDTH = 10_000
"""What a configuration may count without a weight that is as wide: labels, heads, layers."""
LEAST_PARTS, PARTS_A_TENSOR = 2_000, 10
"""Modules and parameters that a model may have, whatever its file holds, and for each tensor in it."""
LEAST_NUMBERS, NUMBERS_A_NUMBER = 25_000_000, 2
"""The same for single numbers, a head that is new and tables of positions included."""
PACKED = 8
"""How many numbers a quantised one in the file may stand for."""
MOST_POSITIONS = 100_000_000

CHECKPOINT_KINDS: dict[str, type | tuple[type, ...]] = {
    "model_type": str,
    "architectures": list,
    "id2label": dict,
    "label2id": dict,
    "pad_token_id": int,
    "num_labels": int,
    "is_encoder_decoder": bool,
    "max_position_embeddings": int,
    "n_positions": int,
    "quantization_config": dict,
    "max_seq_length": int,
}
"""What the files of a checkpoint hold under the keys that are read here."""

TOKENS_NAMED = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id", "forced_bos_token_id")
"""Keys of generation_config.json that name tokens, one each or several."""

PROMPTING_KINDS: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "template": str,
    "chat_template": str,
    "completion_only_loss": bool,
    "chat_template_kwargs": dict,
    "system": str,
}
"""What a prompting.json holds."""

_COUNTS = re.compile(r"^(num|n|number)_|(layers?|groups?|experts?|blocks?|heads|labels)$")
_POSITIONS = re.compile(r"position|ctx|tokens?($|_)|_len(gth)?$|context")
_FROM_HUB = re.compile(r"implementation(_internal)?$")


def refuse_odd_tokens(file: Path) -> None:
    """Refuse a generation_config.json that names what can be no token: no library looks before it is used.

    Raises:
        UserError: says which.
    """
    settings = read_json_object(file, dict.fromkeys(TOKENS_NAMED, (int, list)))
    for key in TOKENS_NAMED:
        named = settings.get(key)
        for value in named if isinstance(named, list) else ():
            if not isinstance(value, int):
                raise UserError(f"{file.name}: {key} lists {value!r}, which is no id of a token", where=str(file))


def read_modules(file: Path) -> list[dict[str, Any]]:
    """modules.json of sentence-transformers: of each part its `type` and its `path` in the folder.

    Raises:
        UserError: it says something else, or leads out of the folder.
    """
    modules = read_json(file)
    for module in modules if isinstance(modules, list) and modules else [None]:
        kind, path = (module.get("type"), module.get("path")) if isinstance(module, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str) or {"/", "\\"} & set(path) or path == "..":
            raise UserError("modules.json does not list parts with type and path", where=str(file))
    parts: list[dict[str, Any]] = modules
    return parts


class WeightSizes(NamedTuple):
    """What the headers of a folder's safetensors files say: how many tensors and numbers, and the longest side."""

    tensors: int
    numbers: int
    widest: int


def weight_sizes(folder: Path) -> WeightSizes:
    """Read the headers; no weight is."""
    from safetensors import safe_open

    shapes: list[list[int]] = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "np") as weights:
            shapes += [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    sides = [side for shape in shapes for side in shape]
    return WeightSizes(len(shapes), sum(map(math.prod, shapes)), max(sides, default=0))


def refuse_implausible(config: dict[str, Any], sizes: WeightSizes, *, where: str, trust_remote_code: bool) -> None:
    """Refuse a config.json that counts what its weights cannot hold, or names code of the hub.

    Raises:
        UserError: with the key.
    """
    for key, value in _leaves(config):
        if isinstance(value, str) and "/" in value and _FROM_HUB.search(key) and not trust_remote_code:
            raise UserError(
                f"{key} is {value!r}, code from the hub, which is not run unasked",
                where=where,
                fix="leave the key out of the file",
            )
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if _POSITIONS.search(key):
            most = MOST_POSITIONS
        elif _COUNTS.search(key):
            most = max(LEAST_WIDTH, sizes.widest, sizes.tensors)
        else:
            continue
        if value > most and not key.endswith(("_id", "_ids")) and key != "model_max_length":
            raise UserError(
                f"{key} is {value:,}, which nothing in the weights beside it bears out",
                where=where,
                fix="the file is damaged or no honest one: take the checkpoint anew from where it came",
            )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below others with the name of its key, without recursion."""
    below = [(key, value)]
    while below:
        name, found = below.pop()
        if isinstance(found, dict):
            below += [(str(inner), item) for inner, item in found.items()]
        elif isinstance(found, list):
            below += [(name, item) for item in found]
        else:
            yield name, found


@contextlib.contextmanager
def no_larger_than(sizes: WeightSizes, *, where: str, packed: bool = False) -> Iterator[None]:
    """Stop a model that is being built in this block, in this thread, once it is larger than its weights can be.

    Modules and parameters are counted as they are made. Those that are read in the place of others lie on a device,
    those that are made by a configuration on none, so a model that fits is counted once.

    Raises:
        UserError: it is; nothing of its size was allocated.
    """
    from torch.nn.modules import module as hooks

    thread = threading.get_ident()
    most_parts = LEAST_PARTS + PARTS_A_TENSOR * sizes.tensors
    most_numbers = LEAST_NUMBERS + NUMBERS_A_NUMBER * sizes.numbers * (PACKED if packed else 1)
    parts = numbers = 0

    def count(_module: Any, _name: str, part: Any) -> None:
        nonlocal parts, numbers
        if part is None or threading.get_ident() != thread:
            return
        size = part.numel() if hasattr(part, "numel") else 0
        parts, numbers = parts + 1, numbers + size
        if parts > most_parts or numbers > most_numbers:
            raise UserError(
                f"its configuration describes a model of more than {numbers:,} numbers in {parts:,} parts, and its "
                f"weights have {sizes.numbers:,} in {sizes.tensors:,}",
                where=where,
                fix="the configuration is damaged or not that of these weights: take both anew from where they came",
            )

    def count_parameter(module: Any, name: str, parameter: Any) -> None:
        if parameter is not None and parameter.is_meta:
            count(module, name, parameter)

    held = [
        hooks.register_module_parameter_registration_hook(count_parameter),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in held:
            handle.remove()
