"""The tiny checkpoint that stands for a model in a trial, with what is known here of the model's own settings."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftkit.commands.smoke.miniature import make_miniature
from ftkit.errors import UserError
from ftkit.models.builtin.builtin import PREFIX, is_builtin, resolve
from ftkit.models.builtin.installed import SMOLLM2_NAME, converted_smollm2, find_minilm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import TOKENIZER_FILES
from ftkit.models.families import FAMILIES, config_folders, family_of, read_object
from ftkit.models.reading.locating import locate
from ftkit.models.reading.pretrained import first_line
from ftkit.recipe.schema import ModelSpec


@dataclass(frozen=True)
class StandIn:
    """A tiny checkpoint in place of a model.

    Attributes:
        checkpoint: the model made small, else a copy of `builtin:tiny-<family>`; with its sentence-transformers files
            where it has any.
        model: the name of the model it stands for.
        real: the model's own files on this machine, perhaps without its weights; None when only its name is known.
        is_small: whether it is the model itself, made small from its own configuration.
        reason: why it is not, where that was tried.
    """

    checkpoint: Checkpoint
    model: str
    real: Checkpoint | None
    is_small: bool = False
    reason: str = ""

    @property
    def told_by(self) -> str:
        """How the family became known."""
        return "its name" if self.real is None else "its configuration"

    @property
    def same_architecture(self) -> bool:
        """Whether the two have layers of the same names, as far as is known here."""
        if self.is_small:
            return True
        model_type = str(self.checkpoint.config["model_type"])
        if self.real is not None:
            return bool(self.real.config.get("model_type") == model_type)
        return model_type.split("-")[0].split("_")[0] in self.model.lower()

    @property
    def has_chat_template(self) -> bool:
        """Whether its tokenizer knows how a chat is written."""
        folder = self.checkpoint.folder
        if (folder / "chat_template.jinja").is_file():
            return True
        return "chat_template" in read_object(folder / "tokenizer_config.json")

    @property
    def marks_languages(self) -> bool:
        """Whether its tokenizer sets a token for the language of a text."""
        return "src_lang" in read_object(self.checkpoint.folder / "tokenizer_config.json")

    @property
    def num_layers(self) -> int:
        """Layers of its decoder or encoder."""
        config = self.checkpoint.config
        return int(config.get("num_hidden_layers") or config.get("n_layer") or config.get("num_layers") or 0)

    def has_layer(self, names: Sequence[str]) -> bool:
        """Whether a layer is called by one of the names, or ends in `.name`, as peft looks for them."""
        from safetensors import safe_open

        layers: list[str] = []
        for file in self.checkpoint.weight_files:
            with safe_open(file, "pt") as weights:
                layers += [key.rpartition(".")[0] for key in weights.keys()]  # noqa: SIM118
        return any(layer == name or layer.endswith(f".{name}") for layer in layers for name in names)


def make_stand_in(spec: ModelSpec, folder: Path) -> StandIn:
    """Copy the tiny checkpoint of a model's family to a folder that does not exist yet; nothing is downloaded.

    Raises:
        UserError: no family is known for the model, or its folder is no checkpoint.
    """
    real = _on_this_machine(spec)
    family = family_of(spec.name_or_path, gguf_file=spec.gguf())
    reason = ""
    if real is not None and not is_tiny(real.name):
        try:
            return _small(spec, real, folder, family)
        except Exception as error:
            # code of transformers fails in any way on sizes that it was not written for
            reason = f"{type(error).__name__}: {first_line(error)}"
            shutil.rmtree(folder, ignore_errors=True)
    if family is None:
        told = f"its model_type is {real.config.get('model_type')}" if real else "its name tells none"
        raise UserError(
            f"model.name_or_path: no tiny checkpoint is known to stand for {spec.name_or_path}: {told}",
            fix=f"known are names and configurations of these families: {', '.join(FAMILIES)}; "
            "add model.name_or_path=builtin:tiny-FAMILY to the command to choose one",
        )
    shutil.copytree(resolve(f"builtin:tiny-{family}"), folder)
    if real is not None:
        _copy_sentence_transformers(real.folder, folder)
    return StandIn(Checkpoint(f"builtin:tiny-{family}", folder), spec.name_or_path, real, reason=reason)


def is_tiny(name: str) -> bool:
    """Whether a model is small enough as it is."""
    return name.startswith(f"{PREFIX}tiny-")


def _small(spec: ModelSpec, real: Checkpoint, folder: Path, family: str | None) -> StandIn:
    # its settings alone are no words
    has_own = any((real.folder / name).is_file() for name in TOKENIZER_FILES if "config" not in name)
    make_miniature(real, folder, tokenizer=None if has_own else Path(resolve(f"{PREFIX}tiny-{family or FAMILIES[0]}")))
    _copy_sentence_transformers(real.folder, folder)
    return StandIn(Checkpoint(str(folder), folder), spec.name_or_path, real, is_small=True)


def _on_this_machine(spec: ModelSpec) -> Checkpoint | None:
    name = spec.name_or_path
    if name == "builtin:minilm":
        # asked for without a check of its weights, which are not used
        found = find_minilm()
        return None if found is None else Checkpoint(name, found)
    if name == SMOLLM2_NAME:
        # not converted for a trial that does not read it
        found = converted_smollm2()
        return None if found is None else Checkpoint(name, found)
    if spec.gguf() is not None:
        return None
    if is_builtin(name):
        return Checkpoint(name, Path(resolve(name)))
    if Path(name).is_dir():
        return locate(spec)
    folders = (folder for folder in config_folders(name) if (folder / "config.json").is_file())
    return next((Checkpoint(name, folder) for folder in folders), None)


def _copy_sentence_transformers(source: Path, target: Path) -> None:
    """What decides the pooling and the length that `auto` chooses."""
    for pattern in ("modules.json", "sentence_bert_config.json", "*_Pooling/config.json"):
        for file in source.glob(pattern):
            copy = target / file.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, copy)
