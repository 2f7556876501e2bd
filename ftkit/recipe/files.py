"""The file of a recipe, and the files and folders that it names: read, made absolute, and looked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ftkit.errors import Problem, RecipeError
from ftkit.methods.adapter_folder import ADAPTER_FILE
from ftkit.recipe.nearest import nearest
from ftkit.runs.folder import is_run
from ftkit.runs.run import Run

MAX_BYTES = 256 * 1024

PACKINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""Endings of compressed files."""

BUILTIN_MODEL_NAMES = (
    "minilm",
    "smollm2",
    "untrained-t5",
    "tiny-bert",
    "tiny-roberta",
    "tiny-distilbert",
    "tiny-albert",
    "tiny-modernbert",
    "tiny-electra",
    "tiny-deberta-v2",
    "tiny-gpt2",
    "tiny-olmo2",
    "tiny-llama",
    "tiny-gemma3",
    "tiny-qwen3",
    "tiny-smollm3",
    "tiny-t5",
    "tiny-bart",
)
"""Names of the models that need no hub, without their prefix `builtin:`."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_MAX_LISTED = 2000


class Located(NamedTuple):
    """A path of the recipe, resolved.

    Attributes:
        value: the absolute path, or the name as it was.
        message: what is wrong with it, empty when nothing is.
        fix: what to do.
    """

    value: str
    message: str = ""
    fix: str = ""


def read_recipe_text(path: Path) -> str:
    """Read a recipe file as UTF-8, a byte order mark allowed, line ends made uniform.

    Raises:
        RecipeError: when there is no such file, or it is not a text that could be a recipe.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _no_recipe(path) from None
    except IsADirectoryError:
        raise _whole_file(path, "is a folder, not a recipe", "name a .yaml file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _whole_file(path, f"cannot be read: {reason}", "check its name and permissions") from None
    if len(data) > MAX_BYTES:
        raise _whole_file(path, f"is larger than {MAX_BYTES // 1024} KB", "a recipe is a few dozen lines") from None
    if data.startswith(_UTF16):
        raise _at(path, "", "the file is UTF-16", "save it as UTF-8")
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise _at(path, before, message, "save the file as UTF-8") from None
    if match := _UNPRINTABLE.search(text):
        message = f"the character U+{ord(match[0]):04X} cannot stand in YAML"
        raise _at(path, text[: match.start()], message, "remove it")
    return text


def _at(path: Path, before: str, message: str, fix: str) -> RecipeError:
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return RecipeError([Problem(f"{path}:{line}:{column}", "", message, fix)])


def _whole_file(path: Path, message: str, fix: str) -> RecipeError:
    return RecipeError([Problem(f"{path}:1:1", "", message, fix)])


def _no_recipe(path: Path) -> RecipeError:
    folder = path.parent
    if not folder.is_dir():
        return RecipeError([Problem(str(path), "", "no such recipe", f"there is no folder {folder}")])
    names = sorted(name for name in os.listdir(folder) if name.endswith((".yaml", ".yml")))
    near = nearest(path.name, names) or nearest(f"{path.name}.yaml", names)
    there = f"recipes there: {', '.join(names[:6])}" if names else "`ftkit new` writes one"
    return RecipeError([Problem(str(path), "", "no such recipe", f"did you mean {near}?" if near else there)])


def ending(name: str) -> str:
    """The ending that tells a file's format, in lower case, that of a compression left out.

    Example:
        >>> ending("train-00000-of-00002.JSONL.gz"), ending("train.txt"), ending("all.zip")
        ('.jsonl', '.txt', '.zip')
    """
    stem, last = os.path.splitext(name)
    return (last.lower() in PACKINGS and os.path.splitext(stem)[1].lower()) or last.lower()


def are_classes(folders: Iterable[str]) -> bool:
    """Whether the sub-folders of a folder can be classes: there are some, and none is called train."""
    names = set(folders)
    return bool(names) and "train" not in names


def absolute(text: str, base: Path) -> str:
    """An absolute path, `~` expanded, relative ones taken from `base`; links are left as they are."""
    return os.path.abspath(base / os.path.expanduser(text))


def absolute_metric(name: str, base: Path) -> str:
    """`evaluate:./mine` with its path made absolute; names of metrics as they are."""
    prefix, _, path = name.partition(":")
    return f"{prefix}:{absolute(path, base)}" if path.startswith((".", "~")) else name


def locate_file(text: str, base: Path) -> Located:
    """Resolve the path of a data file, or of a folder with a sub-folder a class, and say when it is not there."""
    path = absolute(text, base)
    if os.path.isfile(path):
        return Located(path)
    if os.path.isdir(path):
        with os.scandir(path) as entries:
            if are_classes(entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."):
                return Located(path)
        fix = "name a file, or a folder with a sub-folder a class; a folder of splits is a dataset_name"
        return Located(path, f"{text!r} is a folder", fix)
    return Located(path, *_absence(text, path))


def is_url(name: str) -> bool:
    """Whether a file is named by a URL."""
    return re.match(r"[a-z][a-z0-9+.-]+://", name) is not None


def locate_data(text: str, base: Path) -> Located:
    """As `locate_file`; a file may be named by a URL too, which is looked for when it is read."""
    return Located(text) if is_url(text) else locate_file(text, base)


def locate_name(text: str, base: Path, *, if_file: str) -> Located:
    """Resolve a name that counts as a path when it exists as a folder or starts with `.`, `/` or `~`.

    Args:
        text: folder, hub id, or `builtin:NAME`.
        base: what a relative folder is relative to.
        if_file: what to do where it is a file.
    """
    if text.startswith("builtin:"):
        return Located(text)
    path = absolute(text, base)
    if os.path.isdir(path):
        return Located(path)
    if os.path.isfile(path):
        return Located(path, f"{text!r} is a file", if_file)
    if text.startswith((".", "/", "~")):
        return Located(path, *_absence(text, path))
    return Located(text)


def locate_model(text: str, base: Path) -> Located:
    """Resolve the name of a model, and say when there is no built-in one of that name."""
    prefix, _, name = text.partition(":")
    if prefix == "builtin" and name not in BUILTIN_MODEL_NAMES:
        near = nearest(name, BUILTIN_MODEL_NAMES)
        fix = f"did you mean builtin:{near}?" if near else "`ftkit builtin` lists them"
        return Located(text, f"no built-in model is called {name!r}", fix)
    return locate_name(text, base, if_file="name the folder that holds it")


def locate_adapter(text: str, base: Path) -> Located:
    """Resolve model.adapter to the folder of the adapter, that of a run to its model, and say when there is none."""
    path = Path(absolute(text, base))
    if not path.is_dir():
        return Located(str(path), *_absence(text, str(path)))
    folder = Run(path).model_dir if is_run(path) else path
    if (folder / ADAPTER_FILE).is_file():
        return Located(str(folder))
    if not folder.is_dir():
        return Located(str(folder), f"the run {text!r} has no model yet", "train it first")
    fix = "name a run of an adapter, or a folder of peft's; a whole model is model.name_or_path"
    return Located(str(folder), f"{text!r} holds no adapter: it has no {ADAPTER_FILE}", fix)


def _absence(text: str, path: str) -> tuple[str, str]:
    """(what is wrong, what to do) about a path with nothing at it."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        return f"no such file or folder: {text!r}", f"there is no folder {folder}"
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_MAX_LISTED), entries, strict=False)]
    except OSError:
        names = []
    near = nearest(name, names) or _same_stem(name, names)
    fix = f"did you mean {near}?" if near else f"looked in {folder}"
    return f"no such file or folder: {text!r}", fix


def _same_stem(name: str, names: list[str]) -> str | None:
    """`train.csv` for `train.tsv` or `train`."""
    stem = name.rpartition(".")[0] or name
    return min((other for other in names if (other.rpartition(".")[0] or other) == stem), default=None)


FILES: Mapping[str, Callable[[str, Path], Located]] = {
    **dict.fromkeys(("data.train_file", "data.validation_file", "data.test_file"), locate_data),
    "evaluation.reference_file": locate_file,
    "model.name_or_path": locate_model,
    "model.adapter": locate_adapter,
    "data.dataset_name": partial(locate_name, if_file="name a file by train_file"),
}
"""Dotted key of every task -> the path it holds made absolute, relative to a folder, and looked for."""
