"""An adapter of peft put on its base, whole, through the door that checkpoints go through."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE, ADAPTER_WEIGHTS, adapter_settings
from ftkit.methods.start import WATCHED, remember_start
from ftkit.methods.table import BY_PEFT_TYPE, METHODS
from ftkit.models.download import refuse_pickled_adapter
from ftkit.models.reading.plausible import refuse_implausible
from ftkit.models.reading.pretrained import library_errors_told, sizes_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

HARMLESS_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of init_lora_weights that leave the base as it is."""
SPREADING = ("megatron_config", "layer_replication", "prompt_tuning_init_state_dict_path", "tokenizer_kwargs")
"""Settings of peft by which an adapter imports modules, reads other files or repeats layers; ftkit writes none."""


def go_on_with(model: PreTrainedModel, folder: Path, *, base_name: str) -> PeftModel:
    """As `put_adapter`, to be trained on: its own weights learn, and nothing else."""
    method = BY_PEFT_TYPE[adapter_settings(folder)["peft_type"]]
    is_prompt = METHODS[method].trains == "prompt"
    # peft makes a prompt that was trained before ready to be asked alone
    adapted = put_adapter(model, folder, base_name=base_name, learns=not is_prompt)
    config: Any = adapted.peft_config["default"]
    config.inference_mode = False
    for name, parameter in adapted.named_parameters() if is_prompt else ():
        parameter.requires_grad = "prompt_encoder" in name
    for name in ("target_modules", "feedforward_modules"):
        # a set has another order in every process, and with it adapter_config.json
        if isinstance(layers := getattr(config, name, None), set):
            setattr(config, name, sorted(layers))
    if whole := config.modules_to_save:
        # peft appends the usual heads once more, whenever it reads them
        config.modules_to_save = list(dict.fromkeys(whole))
    remember_start(adapted, WATCHED)
    return adapted


def put_adapter(model: PreTrainedModel, folder: Path, *, base_name: str, learns: bool = False) -> PeftModel:
    """Put the adapter of a folder on its base, whole: every weight of the folder has its place, and every place one.

    Its weights are float32 whatever the base is; they are frozen unless the adapter `learns`.

    Raises:
        UserError: its weights are pickled or do not fit, it does more than bring weights, it changes its base as it is
            put on, or a part of it would be left out.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    refuse_pickled_adapter(folder)
    _refuse_spreading_adapter(folder)
    problem = f"the adapter does not fit its base model {base_name}"
    with library_errors_told(problem, where=folder, fix=lambda _: "name the base that it was trained on"):
        with warnings.catch_warnings():
            # peft only warns of weights that an adapter lacks, and leaves them random; they are looked for below
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            adapted: PeftModel = PeftModel.from_pretrained(model, str(folder), is_trainable=learns)
        put = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        wanted = set(put)
        with safe_open(folder / ADAPTER_WEIGHTS, "pt") as weights:
            there = set(weights.keys())
            # peft renames weights of architectures whose names changed once, though they have their new names already
            elsewhere = [name for name in sorted(wanted & there) if not _equal(put[name], weights.get_tensor(name))]
    if lacking := sorted(wanted - there):
        raise UserError(f"the adapter lacks weights: {', '.join(lacking[:3])}", where=str(folder / ADAPTER_WEIGHTS))
    if astray := sorted(there - wanted - set(adapted.state_dict())):
        raise UserError(
            f"{ADAPTER_FILE} has no place for {len(astray)} of the adapter's weights: {', '.join(astray[:3])}",
            where=str(folder),
            fix="put back the adapter_config.json that was saved with them",
        )
    if elsewhere:
        raise UserError(
            f"peft does not put {len(elsewhere)} of the adapter's weights where they were: {', '.join(elsewhere[:3])}",
            where=str(folder / ADAPTER_WEIGHTS),
            fix="train an adapter without these layers (method.target_modules)",
        )
    return adapted


def _equal(put: Any, held: Any) -> bool:
    """Whether a tensor of an adapter is that of its file, in whatever precision and wherever."""
    return put.shape == held.shape and bool(put.cpu().equal(held.to(put.dtype)))


def _refuse_spreading_adapter(folder: Path) -> None:
    """Refuse what peft would do by an adapter_config.json besides putting the adapter's weights on the base."""
    settings, file = adapter_settings(folder), str(folder / ADAPTER_FILE)
    start = settings.get("init_lora_weights", True)
    if start not in HARMLESS_STARTS:
        raise UserError(
            f"init_lora_weights: {start} changes the base when the adapter is put on it",
            where=file,
            fix="save it as a plain LoRA (peft: path_initial_model_for_weight_conversion), as ftkit does",
        )
    if asked := [name for name in SPREADING if settings.get(name)]:
        problem = f"{ADAPTER_FILE} sets {asked[0]}, by which an adapter does more than bring weights: it is not read"
        raise UserError(problem, where=file)
    sizes = sizes_of(folder)
    ranks = [settings.get("r"), settings.get("num_virtual_tokens"), *(settings.get("rank_pattern") or {}).values()]
    if wide := [rank for rank in ranks if isinstance(rank, int) and rank > sizes.widest]:
        problem = f"{ADAPTER_FILE} asks for {wide[0]:,} vectors, and its weights have {sizes.widest:,} at most"
        raise UserError(problem, where=file)
    refuse_implausible(settings, sizes, where=file, trust_remote_code=False)


def refuse_lacking(
    model: PeftModel,
    missing: Iterable[str],
    folder: Path,
    *,
    base_name: str,
    fix: str = "name the base that it was trained on",
) -> None:
    """Refuse an adapter that does not bring what its base lacks, such as a head.

    Args:
        model: with the adapter.
        missing: names of the parameters that the base lacks.
        folder: of the adapter.
        base_name: of the base, for messages.
        fix: what to do about it.

    Raises:
        UserError: with names of weights that neither brings.
    """
    if lacking := sorted(set(missing) - _brought_whole(model)):
        raise UserError(
            f"neither the adapter nor its base {base_name} brings {', '.join(lacking[:3])}",
            where=str(folder),
            fix=fix,
        )


def _brought_whole(model: PeftModel) -> set[str]:
    """Parameters of the base in whose place an adapter brings its own, by the names that they have there."""
    mark = ".modules_to_save.default."
    names = (name.removeprefix("base_model.model.") for name, _ in model.named_parameters() if mark in name)
    return {name.replace(mark, ".") for name in names}
