"""A checkpoint found on this machine: a folder, a built-in one, one of the hub, or one converted from GGUF."""

from __future__ import annotations

from pathlib import Path

from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve as resolve_builtin
from ftkit.models.builtin.gguf import convert_gguf, find_gguf
from ftkit.models.builtin.installed import SMOLLM2_NAME, smollm2_folder
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import download, is_local, refuse_damaged, what_instead
from ftkit.recipe.schema import ModelSpec


def locate(spec: ModelSpec) -> Checkpoint:
    """Find a checkpoint on this machine; it is fetched from the hub, or converted from GGUF, on its first use.

    Raises:
        UserError: there is no such checkpoint, it has no safetensors weights, or they are quantised.
    """
    if (file := spec.gguf()) is not None:
        folder = Path(spec.name_or_path) if is_local(spec.name_or_path) else download(spec, patterns=[file])
        return _converted(f"{spec.name_or_path}/{file}", *convert_gguf(find_gguf(folder, file)))
    if spec.name_or_path == SMOLLM2_NAME:
        return _converted(SMOLLM2_NAME, *smollm2_folder())
    resolved = resolve_builtin(spec.name_or_path)
    folder = Path(resolved) if isinstance(resolved, Path) or is_local(resolved) else download(spec)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is no checkpoint: it has no config.json", fix=what_instead(folder))
    checkpoint = Checkpoint(spec.name_or_path, folder, from_hub=folder != Path(resolved))
    if not checkpoint.weight_files:
        raise UserError(
            f"{spec.name_or_path} has no safetensors weights, and pickled ones can run code, so they are not read",
            fix="use a revision with safetensors, or convert it with transformers' save_pretrained",
        )
    _refuse_quantised(checkpoint)
    refuse_damaged(folder)
    return checkpoint


def _refuse_quantised(checkpoint: Checkpoint) -> None:
    quantised = checkpoint.config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise UserError(
            f"{checkpoint.name} is quantised ({method or 'quantization_config'} in its config.json), and ftkit trains "
            "weights of 16 or 32 bits, and adapters on them",
            fix="name the checkpoint that it was made from",
        )


def _converted(name: str, folder: Path, is_new: bool) -> Checkpoint:
    note = f"{name} was converted to an ordinary checkpoint, once, in {folder}"
    return Checkpoint(name, folder, note=note if is_new else None)
