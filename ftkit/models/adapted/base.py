"""The base of a recipe: a checkpoint as it is, one whose adapter is gone on with, or the two merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftkit import cache
from ftkit.copies import copy_files
from ftkit.errors import UserError
from ftkit.methods.adapter_folder import adapter_hash, adapter_settings
from ftkit.models.checkpoint import Checkpoint, NewTokens
from ftkit.models.download import TOKENIZER_FILES, has_tokenizer, refuse_pickled_adapter
from ftkit.models.reading.locating import locate
from ftkit.models.saved_folder import GENERATION_FILE
from ftkit.models.saved_lm import MERGED_BASES, find_base
from ftkit.recipe.schema import ModelSpec, Recipe
from ftkit.storage import sha256_texts

LAYOUT = 1
"""Raise it whenever a merged folder changes: it is in the cache's names."""


def locate_base(recipe: Recipe) -> Checkpoint:
    """Find the base of a recipe, with the tokens that the recipe adds and the adapter that it goes on with.

    Raises:
        UserError: as `locate`; or the adapter is of another base, or cannot be merged.
    """
    data = recipe.data
    added = NewTokens(tuple(data.add_tokens or ()), tuple(data.add_special_tokens or ()))
    return replace(_with_adapter(recipe.model), new_tokens=added)


def _with_adapter(spec: ModelSpec) -> Checkpoint:
    """As `locate`, with the adapter of the recipe: to be gone on with, or merged."""
    base = locate(spec)
    if spec.adapter is None:
        return base
    folder = Path(spec.adapter)
    refuse_pickled_adapter(folder)
    refuse_other_base(base, folder)
    if spec.adapter_use == "continue":
        return replace(base, adapter=folder)
    return merged_base(base, folder, trust_remote_code=spec.trust_remote_code)


OTHER_BASE = "remove model.name_or_path, and the adapter's base is taken; or name an adapter of this base"


def refuse_other_base(base: Checkpoint, folder: Path, *, fix: str = OTHER_BASE) -> None:
    """Refuse an adapter that was trained on another model than this one; folders are compared by what they hold.

    Args:
        base: the model.
        folder: of the adapter.
        fix: what to do about it.

    Raises:
        UserError: with both names; or the adapter's base cannot be found.
    """
    own = find_base(folder, adapter_settings(folder))
    same = own.folder.resolve() == base.folder.resolve()
    if not same and own.weights_hash != base.weights_hash:
        raise UserError(
            f"the adapter was trained on {own.name}, and the base is {base.name}",
            where=str(folder),
            fix=fix,
        )


def merged_base(base: Checkpoint, folder: Path, *, trust_remote_code: bool) -> Checkpoint:
    """A whole model of a base and an adapter, in float32, made once in the cache, under the hashes of the two.

    Raises:
        UserError: the two cannot be merged, or the merged model answers otherwise.
    """
    name = f"{MERGED_BASES}/{sha256_texts([base.weights_hash, adapter_hash(folder)])[:32]}-v{LAYOUT}"
    called = f"{base.name} with {folder.parent.name if folder.name == 'model' else folder.name}"
    is_new = cache.built(name) is None
    made = cache.build_once(name, lambda out: _merge(base, folder, out, trust_remote_code=trust_remote_code))
    note = f"the adapter {folder} was merged into {base.name}, once, in {made}" if is_new else None
    return Checkpoint(called, made, note=note)


def _merge(base: Checkpoint, folder: Path, out: Path, *, trust_remote_code: bool) -> None:
    import torch

    from ftkit.models.merging import merge_classifier, merge_saved_lm

    is_classifier = Checkpoint(str(folder), folder).is_classifier
    merge = merge_classifier if is_classifier else merge_saved_lm
    merge(folder, out, dtype=torch.float32, trust_remote_code=trust_remote_code)
    copy_files(folder if has_tokenizer(folder) else base.folder, TOKENIZER_FILES, out)
    if not is_classifier and not (out / GENERATION_FILE).is_file():
        copy_files(base.folder, [GENERATION_FILE], out)
