"""What the folder of a saved language model is, told from its files alone, without torch or transformers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE, adapter_settings
from ftkit.methods.table import BY_PEFT_TYPE
from ftkit.models.builtin.builtin import is_builtin
from ftkit.models.checkpoint import MODULES_FILE, Checkpoint
from ftkit.models.families import read_object
from ftkit.models.reading.locating import locate
from ftkit.recipe.data_section import CUT, LongTexts, LongTextsKind
from ftkit.recipe.schema import ModelSpec
from ftkit.runs.folder import is_run, refuse_broken_run
from ftkit.runs.run import Run
from ftkit.storage import read_json_object, write_json

PROMPTING_FILE = "prompting.json"
"""Name of the file, beside a trained language model, that holds the template it was trained with."""
GENERATION_FILE = "generation_config.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
LONG_TEXTS_FILE = "long_texts.json"
"""Beside a classifier that reads long texts otherwise than by cutting them: data.long_texts and data.window_stride."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
TASK_TYPES = ("CAUSAL_LM", "SEQ_2_SEQ_LM", None)
"""What peft calls the tasks of language models."""


def model_folder(path: Path) -> Path:
    """The folder of the model of a run, the folder itself, or that of a `builtin:` model or of a hub id.

    `owner/name` is a hub id where nothing on this machine is called `owner`: a mistyped run asks no network.

    Raises:
        UserError: there is none.
    """
    name = str(path)
    if is_builtin(name) or (_HUB_ID.fullmatch(name) and not path.parent.exists()):
        return locate(ModelSpec(name_or_path=name)).folder
    if is_run(path) and not Run(path).model_dir.is_dir():
        raise UserError(f"the run {path} has no model yet ({Run(path).manifest().get('state')})", fix="train it first")
    refuse_broken_run(path)
    if is_run(path):
        Run(path).sweep()
    folder = Run(path).model_dir if is_run(path) else path
    if not folder.is_dir():
        raise UserError(f"there is neither a run nor a model folder at {path}", fix="`ftkit runs` lists runs")
    _refuse_without_model(folder)
    return folder


def holds_model(folder: Path) -> bool:
    """Whether a folder is that of a whole model, of an adapter, or of the modules of sentence-transformers."""
    return any((folder / name).is_file() for name in ("config.json", ADAPTER_FILE, MODULES_FILE))


def _refuse_without_model(folder: Path) -> None:
    if not holds_model(folder):
        raise UserError(f"{folder} holds no model: it has no config.json", fix="name a run or a model folder")


def language_model_folder(path: Path) -> Path:
    """As `model_folder`, for a language model.

    Raises:
        UserError: there is none, or the model is no language model.
    """
    folder = model_folder(path)
    refuse_other_folders(folder)
    return folder


def refuse_other_folders(folder: Path) -> None:
    """Refuse a folder that holds no language model, without loading one.

    Raises:
        UserError: it holds a classifier, an adapter of another kind, or nothing.
    """
    _refuse_without_model(folder)
    if Checkpoint(str(folder), folder).is_classifier:
        raise UserError(f"{folder} holds a classifier, which writes no text", fix="ask it with `ftkit predict`")
    if (folder / ADAPTER_FILE).is_file():
        settings = adapter_settings(folder)
        if settings.get("peft_type") not in BY_PEFT_TYPE or settings.get("task_type") not in TASK_TYPES:
            kind = f"{settings.get('peft_type')} for {settings.get('task_type')}"
            raise UserError(f"the adapter in {folder} is {kind}, not LoRA, a prompt or a prefix of a language model")


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer in a model folder knows how a chat is written."""
    if (folder / CHAT_TEMPLATE_FILE).is_file():
        return True
    return bool(read_object(folder / "tokenizer_config.json").get("chat_template"))


def note_long_texts(folder: Path, long_texts: LongTexts) -> None:
    """Write down how a classifier reads long texts, where it does not cut them, as every library would."""
    if long_texts != CUT:
        write_json(folder / LONG_TEXTS_FILE, {"long_texts": long_texts.kind, "window_stride": long_texts.stride})


def read_long_texts(folder: Path) -> LongTexts:
    """How the classifier of a folder reads long texts.

    Raises:
        UserError: what is written there is nothing that ftkit does.
    """
    file = folder / LONG_TEXTS_FILE
    if not file.is_file():
        return CUT
    noted = read_json_object(file, {"long_texts": str, "window_stride": int})
    kinds: tuple[LongTextsKind, ...] = get_args(LongTextsKind)
    stride = noted.get("window_stride", 0)
    for kind in kinds:
        if kind == noted.get("long_texts") and stride >= 0:
            return LongTexts(kind, stride)
    said = f"long_texts {noted.get('long_texts')!r}, window_stride {stride}"
    raise UserError(f"it says {said}", where=str(file), fix=f"long_texts is one of {', '.join(kinds)}")


def add_end_tokens(folder: Path, ids: Iterable[int]) -> None:
    """Name tokens that end an answer, beside those that are named, in generation_config.json, where libraries look."""
    file = folder / GENERATION_FILE
    settings = read_json_object(file) if file.exists() else {}
    named = settings.get("eos_token_id")
    own = named if isinstance(named, list) else [] if named is None else [named]
    ends = sorted({*own, *ids})
    settings["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    settings.pop("_from_model_config", None)
    write_json(file, settings)
