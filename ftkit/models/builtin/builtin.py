"""`builtin:NAME` models: checkpoints that need no hub, made or found on this machine."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ftkit import cache
from ftkit.errors import UserError
from ftkit.models.builtin import installed

PREFIX = "builtin:"


@dataclass(frozen=True)
class BuiltinModel:
    """A model that needs no hub.

    Attributes:
        name: without the prefix `builtin:`.
        family: the tiny checkpoint that stands for it in a smoke test is `tiny-<family>`.
        description: one line.
        num_bytes: of the folder, approximately.
        layout: version of the bytes of one that is made here; None for one that is installed.
    """

    name: str
    family: str
    description: str
    num_bytes: int
    layout: int | None = None

    @property
    def made_name(self) -> str:
        """Where it lies below the cache folder when it is made here: the name holds all that its bytes depend on.

        The libraries' versions are among it: they write the configuration and the tokenizer's files.
        """
        versions = "-".join(importlib.metadata.version(package) for package in ("transformers", "tokenizers"))
        return f"builtin/{self.name}-v{self.layout}-{versions}"


@dataclass(frozen=True)
class BuiltinStatus:
    """Whether a built-in model is on this machine.

    Attributes:
        name: with the prefix.
        bytes: of the folder, approximately.
        ready: whether using it now neither builds nor installs anything.
        state: `installed`, `cached`, what its first use does, or the command that installs it.
    """

    name: str
    description: str
    bytes: int
    ready: bool
    state: str


def is_builtin(name_or_path: str) -> bool:
    """Whether a recipe's name of a model or a data set has the prefix `builtin:`."""
    return name_or_path.startswith(PREFIX)


def is_missing(name_or_path: str) -> bool:
    """Whether a name is that of a built-in model of a package, which is not installed or not converted yet."""
    model = BUILTIN_MODELS.get(name_or_path.removeprefix(PREFIX)) if is_builtin(name_or_path) else None
    return model is not None and model.layout is None and not _state(model)[0]


def resolve(name_or_path: str) -> Path | str:
    """The folder behind `builtin:NAME`, made on first use; every other name as it came.

    Raises:
        UserError: no such built-in model, or its package is missing or damaged.
    """
    if not is_builtin(name_or_path):
        return name_or_path
    name = name_or_path.removeprefix(PREFIX)
    if name not in BUILTIN_MODELS:
        raise UserError(f"no built-in model {name_or_path}", fix=f"{nearest_name(name)}`ftkit builtin` lists them")
    if name == "minilm":
        return installed.minilm_folder()
    if name == "smollm2":
        return installed.smollm2_folder()[0]
    return made_folder(BUILTIN_MODELS[name])


def remake(folder: Path) -> Path | None:
    """A built-in model that a cache once held in this folder, found or made again in the cache of today.

    An adapter names the folder of its base; caches are cleared, and are elsewhere on another machine. None when the
    name is not that of a built-in model with the same weights.
    """
    if folder.parent.name == "gguf" and folder.name.startswith(installed.SMOLLM2_SHA256[:32]):
        return installed.smollm2_folder()[0]
    made = (model for model in BUILTIN_MODELS.values() if folder.name.startswith(f"{model.name}-v{model.layout}-"))
    model = next(made, None) if folder.parent.name == "builtin" else None
    return made_folder(model) if model is not None else None


def nearest_name(name: str) -> str:
    """`did you mean builtin:tiny-bert? `, or nothing when no name is near."""
    from rapidfuzz import fuzz, process

    found = process.extractOne(name.lower(), list(BUILTIN_MODELS), scorer=fuzz.ratio, score_cutoff=60)
    return f"did you mean {PREFIX}{found[0]}? " if found else ""


def made_folder(model: BuiltinModel) -> Path:
    """The folder of a tiny checkpoint or of the untrained T5, built in the user's cache when it is not there yet."""

    def build(folder: Path) -> None:
        from ftkit.models.builtin.tiny import build_tiny
        from ftkit.models.builtin.untrained import build_untrained

        if model is UNTRAINED_T5:
            build_untrained(folder)
        else:
            build_tiny(model.family, folder)

    return cache.build_once(model.made_name, build)


def describe_builtin_models() -> list[BuiltinStatus]:
    """What there is and whether it is on this machine; builds, hashes and imports nothing."""
    return [
        BuiltinStatus(PREFIX + model.name, model.description, model.num_bytes, *_state(model))
        for model in BUILTIN_MODELS.values()
    ]


def _state(model: BuiltinModel) -> tuple[bool, str]:
    if model.name == "minilm":
        ready = installed.find_minilm() is not None
        return ready, "installed" if ready else installed.MINILM_INSTALL
    if model.name == "smollm2":
        return installed.smollm2_state()
    ready = (cache.cache_root() / model.made_name).is_dir()
    return ready, "cached" if ready else "made on first use"


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
    "untrained-t5",
    "t5",
    "initial weights: a small T5 to train from nothing, 1.0M parameters",
    4_300_000,
    UNTRAINED_LAYOUT_VERSION,
)
TINY = [
    BuiltinModel(f"tiny-{family}", family, f"random weights: {description}", kilobytes * 1000, TINY_LAYOUT_VERSION)
    for family, (description, kilobytes) in TINY_MODELS.items()
]

BUILTIN_MODELS: Mapping[str, BuiltinModel] = MappingProxyType(
    {model.name: model for model in [MINILM, SMOLLM2, UNTRAINED_T5, *TINY]}
)
"""Every built-in model by its name without the prefix."""
