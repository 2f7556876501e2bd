"""Where a model that a recipe names lies: in a folder here, whose files are whole, or on the hub, fetched once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE, ADAPTER_WEIGHTS
from ftkit.models.families import config_folders, read_object
from ftkit.recipe.data_section import FILE_KEYS
from ftkit.recipe.files import is_url
from ftkit.recipe.schema import ModelSpec, Recipe
from ftkit.runs.folder import refuse_special_files
from ftkit.storage import read_json_object

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "chat_template.jinja",
)
HUB_FILES = (
    "config.json",
    "generation_config.json",
    "modules.json",
    "*_Pooling/config.json",
    "sentence_bert_config.json",
    *TOKENIZER_FILES,
    "*.safetensors",
    "*.safetensors.index.json",
)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds files of a tokenizer."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def download(spec: ModelSpec, *, patterns: Sequence[str] = HUB_FILES) -> Path:
    """The folder of a hub model in the local hub cache, with the files that fit the patterns.

    Raises:
        UserError: the hub has no such model, or it is neither cached nor to be reached.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = [*patterns, "*.py"] if spec.trust_remote_code else list(patterns)
    offline = constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    try:
        return Path(
            snapshot_download(
                spec.name_or_path, revision=spec.revision, allow_patterns=wanted, local_files_only=offline
            )
        )
    except LocalEntryNotFoundError as error:
        reason = "and the hub is switched off" if offline else "and the hub cannot be reached"
        raise UserError(
            f"model.name_or_path: {spec.name_or_path} is neither a folder nor in the local hub cache, {reason}",
            fix="name a folder, download it where there is a network, or use a builtin: model (`ftkit builtin`)",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"model.name_or_path: cannot get {spec.name_or_path} from the hub: {str(error).splitlines()[0]}",
            fix="check the name and model.revision, or name a folder",
        ) from error


def needs_hub(folder: Path) -> bool:
    """Whether a model folder is an adapter whose base, by its hub id, is not on this machine yet."""
    base = read_object(folder / ADAPTER_FILE).get("base_model_name_or_path")
    if not isinstance(base, str) or Path(base).is_absolute() or Path(base).is_dir():
        return False
    return not any((cached / "config.json").is_file() for cached in config_folders(base))


def is_local(name: str) -> bool:
    """Whether a name means a folder here, not a hub id.

    Raises:
        UserError: it means a file, or a folder that does not exist.
    """
    path = Path(name)
    if path.is_dir():
        return True
    if path.is_file():
        is_gguf = path.suffix == ".gguf"
        fix = f"set model.name_or_path: {path.parent} and model.gguf_file: {path.name}" if is_gguf else None
        raise UserError(f"model.name_or_path: {name} is a file", fix=fix or "name its folder")
    if path.is_absolute():
        raise UserError(f"model.name_or_path: there is no folder {name}", fix="check the path")
    return False


def what_instead(folder: Path) -> str:
    """What to do about a folder that is named as a checkpoint and has no config.json."""
    if (folder / ADAPTER_FILE).is_file():
        return "it is an adapter: name the base model, or merge the two with `ftkit export --merge`"
    if (encoder := folder / "0_Transformer").is_dir():
        return f"its encoder is one: {encoder}"
    if files := sorted(path.name for path in folder.glob("*.gguf")):
        return f"set model.gguf_file: {files[0]}"
    return "name a transformers model folder"


def stay_offline_unless_remote(recipe: Recipe) -> None:
    """Switch the hub off, for the rest of the process, when nothing in a recipe can come from it.

    Some libraries look the hub up even for local folders; huggingface_hub reads the switch when it is imported.
    """
    model = recipe.model.name_or_path
    sources = [source.dataset_name for key in FILE_KEYS for source in recipe.data.entries(key)]
    files = [file for key in FILE_KEYS if isinstance(file := getattr(recipe.data, key), str)]
    files += [source.file for key in FILE_KEYS for source in recipe.data.entries(key) if source.file is not None]
    sources += [file for file in files if is_url(file)]
    data = [name for name in (recipe.data.dataset_name, *sources) if name is not None]
    metrics = [name.partition(":")[2] for name in recipe.evaluation.metrics if name.startswith("evaluate:")]
    named = [model, *data, *metrics]
    if all(_is_local(name) for name in named) and recipe.training.report_to == "none":
        for switch in ("HF_HUB_OFFLINE", "HF_EVALUATE_OFFLINE"):
            os.environ.setdefault(switch, "1")


def _is_local(name: str) -> bool:
    return name.startswith("builtin:") or Path(name).exists()


def refuse_damaged(folder: Path) -> None:
    """Refuse a folder with a safetensors file that is cut short or is none, with shards outside of it, or with a pipe.

    Headers alone are read.

    Raises:
        UserError: naming the file.
    """
    refuse_special_files(folder)
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
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise UserError(
            f"{folder} has no adapter_model.safetensors; pickled weights can run code, so they are not read",
            fix="train or export the adapter again",
        )


def _refuse_strays(index: Path) -> None:
    try:
        shards = set(read_json_object(index)["weight_map"].values())
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"the index of the weights cannot be read: {error}", where=str(index)) from error
    for shard in sorted(map(str, shards)):
        if Path(shard).name != shard or not (index.parent / shard).is_file():
            raise UserError(
                f"the index of the weights names {shard!r}, which is no file of this folder", where=str(index)
            )
