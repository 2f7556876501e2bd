"""Starting points of a recipe, and their keys filled in with the comments kept: pure text work."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ftkit.errors import UserError
from ftkit.recipe.nearest import nearest
from ftkit.recipe.yaml.scalars import write_value

STARTING_POINTS = Path(__file__).parent / "starting_points"
COMMENT_COLUMN = 44


@dataclass(frozen=True)
class NewRecipe:
    """The YAML of a recipe to be written; what was assumed, and what looks wrong with the data, in a sentence each."""

    text: str
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class StartingPoint(NamedTuple):
    """What a list of starting points shows: the recipe's task, and its first comment."""

    task: str
    summary: str


def starting_points() -> dict[str, StartingPoint]:
    """Name -> starting point."""
    texts = {path.stem: path.read_text("utf-8") for path in sorted(STARTING_POINTS.glob("*.yaml"))}
    return {name: StartingPoint(task_of_recipe(text), _summary(text)) for name, text in texts.items()}


def starting_point(name: str) -> str:
    """The text of a starting point.

    Raises:
        UserError: there is none of that name.
    """
    known = list(starting_points())
    name = name.removesuffix(".yaml")
    if name not in known:
        near = nearest(name, known)
        fix = f"did you mean {near}?" if near else f"there is {', '.join(known)}"
        raise UserError(f"no starting point is called {name!r}", fix=fix)
    return (STARTING_POINTS / f"{name}.yaml").read_text("utf-8")


def task_of_recipe(text: str) -> str:
    """The task that the text of a recipe names."""
    match = re.search(r"^task: (\w+)", text, re.MULTILINE)
    assert match is not None, "every starting point names its task"
    return match[1]


def relative(path: Path, folder: Path) -> str:
    """`path` as a recipe in `folder` names it, with forward slashes."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return Path(os.path.abspath(path)).as_posix()


_LINE = re.compile(r"(?P<indent>  )(?P<hash># )?(?P<key>\w+): (?P<value>.*?)(?P<comment> +# .*)?")


def fill(text: str, values: Mapping[str, object]) -> str:
    """Set values in a starting point, comments kept.

    Args:
        text: YAML of two levels, one key a line.
        values: dotted key -> value; a key that is commented out is brought in, None comments a key out, and a key
            that is not there is added below its section.

    Example:
        >>> print(fill("data:\\n  train_file: my.csv  # a file\\n", {"data.train_file": "a b.csv"}), end="")
        data:
          train_file: "a b.csv"                     # a file
    """
    lines: list[str] = []
    left, section, heads = dict(values), "", dict[str, int]()
    for line in text.splitlines():
        if re.fullmatch(r"\w+:( .*)?", line):
            section = line.partition(":")[0]
            heads[section] = len(lines)
        match = _LINE.fullmatch(line)
        dotted = f"{section}.{match['key']}" if match else ""
        lines.append(_filled(match, left.pop(dotted)) if match and dotted in left else line)
    # from the last section to the first, so that earlier positions stay true
    for dotted, value in sorted(left.items(), key=lambda item: -heads[item[0].partition(".")[0]]):
        section, _, key = dotted.partition(".")
        if value is not None:
            lines.insert(heads[section] + 1, f"  {key}: {write_value(value)}")
    return "\n".join(lines) + "\n"


def _filled(match: re.Match[str], value: object) -> str:
    written = match["value"] if value is None else write_value(value)
    line = f"{match['indent']}{'# ' if value is None else ''}{match['key']}: {written}"
    comment = (match["comment"] or "").strip()
    return f"{line:<{COMMENT_COLUMN - 2}}  {comment}" if comment else line


def _summary(text: str) -> str:
    """The first sentence of the head comment, without its mark."""
    head = [line.removeprefix("#").strip() for line in text.splitlines()[1:] if line.startswith("#")]
    return " ".join(line for line in head if line).partition(". ")[0].rstrip(".")
