"""GGUF files, the format of llama.cpp: converted once into an ordinary checkpoint that everything else can read."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import struct
from pathlib import Path
from typing import BinaryIO

from ftkit import cache
from ftkit.errors import UserError

CONVERSION = 1
"""Raise it whenever the converted folder changes: it is in the cache's names."""

MAGIC = b"GGUF"
STRING = 8
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Width of a value by its type in the file; strings (8) and arrays (9) say theirs."""


def convert_gguf(file: Path) -> tuple[Path, bool]:
    """The checkpoint folder made of a GGUF file: float32 safetensors, configuration, tokenizer, chat template.

    The weights are what the file's blocks mean, exactly; what quantizing cost is lost before. The folder lies in the
    cache under the hash of the file (whole, not one of several parts) and the versions of the libraries that made it.
    With it comes whether it was made just now.

    Raises:
        UserError: the package gguf is missing, or transformers cannot read the file.
    """
    name = converted_name(cache.known_sha256(file))
    if (found := cache.built(name)) is not None:
        return found, False
    if not can_convert():
        raise UserError("GGUF files need the package gguf", where=str(file), fix="pip install gguf")
    return cache.build_once(name, lambda folder: _convert(file, folder)), True


def find_gguf(folder: Path, name: str) -> Path:
    """A GGUF file in a folder.

    Raises:
        UserError: it is not there; the ones that are get listed.
    """
    if not (folder / name).is_file():
        present = ", ".join(sorted(path.name for path in folder.glob("*.gguf"))) or "none"
        raise UserError(f"model.gguf_file: there is no {name} in {folder}", fix=f"GGUF files there: {present}")
    return folder / name


def can_convert() -> bool:
    """Whether the package that reads the blocks is installed."""
    return importlib.util.find_spec("gguf") is not None


def converted_name(sha256: str) -> str:
    """Where the checkpoint made of the GGUF file with this hash lies below the cache folder."""
    versions = "-".join(importlib.metadata.version(package) for package in ("transformers", "tokenizers"))
    return f"gguf/{sha256[:32]}-v{CONVERSION}-{versions}"


def _convert(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    from ftkit.models.builtin.tiny import no_progress_bar
    from ftkit.models.reading.pretrained import read_gguf

    # what it draws on stderr cannot be switched off otherwise
    with no_progress_bar(), contextlib.redirect_stderr(io.StringIO()):
        tokenizer, (model, missing, _) = read_gguf(AutoModelForCausalLM, file)
        if missing:
            raise UserError(f"the file lacks weights: {', '.join(missing[:3])}", where=str(file))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def architecture_of(file: Path) -> str | None:
    """`general.architecture` of a GGUF file (`llama`, `qwen2`), read from its first bytes; None when not found there.

    Source:
        The format: magic, version, numbers of tensors and of entries, then entries of key, type and value.
    """
    try:
        with file.open("rb") as stream:
            if stream.read(4) != MAGIC:
                return None
            _, _, num_entries = struct.unpack("<IQQ", stream.read(20))
            for _ in range(num_entries):
                key, kind = _text(stream), struct.unpack("<I", stream.read(4))[0]
                if kind == STRING:
                    value = _text(stream)
                    if key == "general.architecture":
                        return value
                elif kind in SCALAR_BYTES:
                    stream.seek(SCALAR_BYTES[kind], 1)
                else:
                    return None
    except (OSError, struct.error, UnicodeDecodeError, MemoryError, OverflowError):
        return None
    return None


def _text(stream: BinaryIO) -> str:
    length = struct.unpack("<Q", stream.read(8))[0]
    if length > 1 << 20:
        raise struct.error("no text of a header is that long")
    return stream.read(length).decode("utf-8")
