"""A recipe file to text: missing files, odd encodings and stray bytes become problems with a place."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ftkit.errors import Problem, RecipeError
from ftkit.recipe.nearest import nearest

MAX_BYTES = 256 * 1024

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_recipe_text(path: Path) -> str:
    """Read a recipe file as UTF-8, a byte order mark allowed, line ends made uniform.

    Raises:
        RecipeError: when there is no such file, or it is not a text that could be a recipe.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _absent(path) from None
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


def _absent(path: Path) -> RecipeError:
    folder = path.parent
    if not folder.is_dir():
        return RecipeError([Problem(str(path), "", "no such recipe", f"there is no folder {folder}")])
    names = sorted(name for name in os.listdir(folder) if name.endswith((".yaml", ".yml")))
    near = nearest(path.name, names) or nearest(f"{path.name}.yaml", names)
    there = f"recipes there: {', '.join(names[:6])}" if names else "`ftkit new` writes one"
    return RecipeError([Problem(str(path), "", "no such recipe", f"did you mean {near}?" if near else there)])
