"""A finetuned language model on the disk: written as transformers or peft write it, and loaded back."""

from __future__ import annotations

import json
from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE, ADAPTER_WEIGHTS, adapter_settings
from ftkit.methods.lora import TAKEN_OUT
from ftkit.methods.start import adapter_start
from ftkit.methods.table import BY_PEFT_TYPE
from ftkit.models.builtin.builtin import remake
from ftkit.models.causal import (
    AUTO,
    grow_embeddings,
    load_causal_lm,
    load_tokenizer_for_lm,
    open_tokenizer,
    refuse_unknown_tokens,
)
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import has_tokenizer, refuse_damaged
from ftkit.models.placement import keep_cache
from ftkit.models.reading.adapter import put_adapter
from ftkit.models.reading.locating import locate
from ftkit.models.reading.plausible import PROMPTING_KINDS
from ftkit.models.saved_folder import PROMPTING_FILE, refuse_other_folders
from ftkit.models.seq2seq import is_seq2seq, load_seq2seq, load_tokenizer_for_seq2seq
from ftkit.recipe.schema import ModelSpec
from ftkit.storage import read_json_object, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


MERGED_BASES = "merged"
"""Folder of the cache in which bases lie that an adapter was merged into."""


@dataclass(frozen=True)
class SavedLM:
    """A finetuned language model, ready to generate: in eval mode, with a cache of keys and values.

    Attributes:
        prompting: what its folder says about the form of its inputs; None where it says nothing.
        base: the checkpoint under an adapter, or the model itself.
        method: how it was trained, as far as its files tell.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    prompting: dict[str, Any] | None
    base: Checkpoint
    method: str

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return next(self.model.parameters()).device


def save_language_model(
    model: PreTrainedModel | PeftModel,
    target: Path,
    *,
    base_name: str,
    revision: str | None = None,
    stop_ids: Collection[int] = (),
    generation: GenerationConfig | None = None,
) -> None:
    """Write a full model as transformers does, or an adapter as peft does.

    An adapter's folder has no config.json, so that transformers looks for its base; nor embeddings, unless
    modules_to_save names them. One that began as PiSSA or OLoRA becomes a plain LoRA of the original base, of twice the
    rank.

    Args:
        target: an empty folder.
        base_name: hub id or absolute folder under which an adapter will find its base again.
        stop_ids: tokens that end what the model writes, for generation_config.json; none: as the checkpoint has it.
        generation: the whole generation_config.json, in place of the checkpoint's own.
    """
    from peft import PeftModel

    generation = generation or ending_at(stop_ids, model.generation_config)
    if not isinstance(model, PeftModel):
        if generation is not None:
            model.generation_config = generation
        # switched off for training only; whoever generates from the folder wants it
        keep_cache(model, on=True)
        model.save_pretrained(target)
        keep_cache(model, on=False)
        return
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = base_name, revision
    # peft would ask the hub whether the vocabulary has grown
    model.save_pretrained(str(target), save_embedding_layers=False)
    if generation is not None:
        # no loader of adapters reads it by itself: the lines of the card do, and vLLM's --generation-config
        generation.save_pretrained(target)
    if getattr(config, "init_lora_weights", True) in TAKEN_OUT:
        write_as_plain_lora(target, adapter_start(model))


def ending_at(stop_ids: Collection[int], settings: GenerationConfig | None) -> GenerationConfig | None:
    """Settings of generation that end at other tokens; None where there are none to be named."""
    if not stop_ids or settings is None:
        return None
    settings = deepcopy(settings)
    settings.eos_token_id = sorted(stop_ids)
    return settings


def write_as_plain_lora(folder: Path, start: dict[str, torch.Tensor]) -> None:
    """Turn a saved adapter whose start was taken out of the base into one of the original base, in place.

    W - B0 A0 + B A = W + [B, -B0] [A; A0], scaled alike, so the rank doubles. `start` holds the tensors as they were
    attached, by parameter name.

    Source:
        Meng et al. 2024 (PiSSA), appendix on sharing; peft's subtract_mutated_init, which forgets modules_to_save.
    """
    from safetensors.torch import load_file, save_file

    first = {name.replace(".default", ""): tensor for name, tensor in start.items()}
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    for name, tensor in tensors.items():
        if ".lora_A." in name:
            tensors[name] = torch.cat([tensor, first[name]], dim=0)
        elif ".lora_B." in name:
            tensors[name] = torch.cat([tensor, -first[name]], dim=1)
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
    louder = 2**0.5 if config["use_rslora"] else 2
    config |= {
        "init_lora_weights": True,
        "r": 2 * config["r"],
        "rank_pattern": {layer: 2 * rank for layer, rank in config["rank_pattern"].items()},
        "lora_alpha": louder * config["lora_alpha"],
        "alpha_pattern": {layer: louder * alpha for layer, alpha in config["alpha_pattern"].items()},
    }
    write_json(folder / ADAPTER_FILE, config)


def load_saved_lm(
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    with_adapter: bool = True,
    attn_implementation: str = AUTO,
    trust_remote_code: bool = False,
) -> SavedLM:
    """Load a finetuned language model: `model/` of a run, a checkpoint folder, or an adapter of peft on its base.

    `dtype` is that of the weights; an adapter's stay float32. Without its adapter: the base alone, with the tokenizer
    of the adapter's folder.

    Raises:
        UserError: the folder holds no language model, its base is gone, or the two do not fit; or there is no adapter
            to leave out.
    """
    refuse_other_folders(folder)
    refuse_damaged(folder)
    options: dict[str, Any] = {
        "dtype": dtype,
        "attn_implementation": attn_implementation,
        "trust_remote_code": trust_remote_code,
    }
    model: PreTrainedModel | PeftModel
    if (folder / ADAPTER_FILE).is_file():
        settings = adapter_settings(folder)
        base = find_base(folder, settings)
        model = load_base(base, **options)
        if settings.get("modules_to_save") and (folder / "tokenizer_config.json").is_file():
            # tokens that the run added
            grow_embeddings(model, open_tokenizer(Checkpoint(str(folder), folder), trust_remote_code=trust_remote_code))
        model = put_adapter(model, folder, base_name=base.name) if with_adapter else model
        method = BY_PEFT_TYPE[settings["peft_type"]]
    elif not with_adapter:
        raise UserError(f"{folder} is no adapter: every weight was trained, so its base is not in it")
    else:
        base, method = Checkpoint(str(folder), folder), "full"
        model = load_base(base, **options)
    home = Checkpoint(str(folder), folder) if has_tokenizer(folder) else base
    tokenizer = load_tokenizer(home, base, trust_remote_code=trust_remote_code)
    refuse_unknown_tokens(model, tokenizer)
    keep_cache(model, on=True)
    module: nn.Module = model.eval()
    module.to(device)
    return SavedLM(model, tokenizer, prompting_of(folder), base, method)


def load_tokenizer(home: Checkpoint, base: Checkpoint, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer that lies in `home`, as a model of this base wants it.

    Raises:
        UserError: there is none, or it lacks a token that the model needs.
    """
    load = load_tokenizer_for_seq2seq if is_seq2seq(base) else load_tokenizer_for_lm
    return load(home, trust_remote_code=trust_remote_code)


def prompting_of(folder: Path) -> dict[str, Any] | None:
    """What a model folder says about the form of its inputs; None where it says nothing.

    Raises:
        UserError: its file cannot be read.
    """
    file = folder / PROMPTING_FILE
    return read_json_object(file, PROMPTING_KINDS) if file.exists() else None


def load_base(
    base: Checkpoint, *, dtype: torch.dtype, attn_implementation: str = AUTO, trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a whole language model of either kind, a decoder or an encoder with one.

    Raises:
        UserError: it is neither, lacks weights, or cannot be read.
    """
    load = load_seq2seq if is_seq2seq(base) else load_causal_lm
    return load(base, dtype=dtype, attn_implementation=attn_implementation, trust_remote_code=trust_remote_code)


def base_under(folder: Path) -> Checkpoint:
    """The base checkpoint under the adapter in a folder; the model itself where there is no adapter.

    Raises:
        UserError: as for `find_base`.
    """
    if (folder / ADAPTER_FILE).is_file():
        return find_base(folder, adapter_settings(folder))
    return Checkpoint(str(folder), folder)


def find_base(folder: Path, settings: dict[str, Any]) -> Checkpoint:
    """The base checkpoint that an adapter names, downloaded when it is a hub id that is not here yet.

    Raises:
        UserError: it is not where the adapter says, or cannot be had.
    """
    name = settings.get("base_model_name_or_path")
    fix = f"put it back, or write where it is now as base_model_name_or_path in {folder / ADAPTER_FILE}"
    if not name:
        raise UserError("this adapter does not name its base model", where=str(folder / ADAPTER_FILE), fix=fix)
    if Path(name).is_absolute() and not Path(name).is_dir():
        if (again := remake(Path(name))) is not None:
            return Checkpoint(name, again)
        if Path(name).parent.name == MERGED_BASES:
            fix = f"ftkit check on the recipe of its run ({folder.parent / 'recipe.yaml'}) merges it again"
        raise UserError(
            f"the base model of this adapter is gone: there is no folder {name}", where=str(folder), fix=fix
        )
    try:
        return locate(ModelSpec(name_or_path=name, revision=settings.get("revision")))
    except UserError as error:
        raise UserError(
            f"the base model of this adapter: {error.problem.removeprefix('model.name_or_path: ')}",
            where=str(folder),
            fix=error.fix,
        ) from error
