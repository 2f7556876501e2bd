"""A commented recipe from a starting point: pure text work, what a data file holds is told by the caller."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ftkit.errors import UserError
from ftkit.recipe.dump import write_value
from ftkit.recipe.keys import nearest

STARTING_POINTS = Path(__file__).parent / "starting_points"
COMMENT_COLUMN = 44
SMALL = 200
"""Rows below which a fifth, not a tenth, is split off for validation: a tenth would measure next to nothing."""


@dataclass(frozen=True)
class DataFacts:
    """What was seen in a data file.

    Attributes:
        num_rows: rows looked at.
        complete: whether these are all rows.
        label_counts: label -> rows.
        text_column: column of the text.
        text_pair_column: column of the second text, or None.
        label_column: column of the label.
        notes: how the columns were found.
        siblings: `validation` and `test` -> file that lies beside the training file.
        num_bad_rows: rows that cannot be read.
    """

    num_rows: int
    complete: bool
    label_counts: Mapping[str, int]
    text_column: str
    label_column: str
    text_pair_column: str | None = None
    notes: Sequence[str] = ()
    siblings: Mapping[str, Path] = field(default_factory=dict)
    num_bad_rows: int = 0


@dataclass(frozen=True)
class NewRecipe:
    """A recipe to be written.

    Attributes:
        text: the YAML.
        assumed: what was assumed, one sentence each.
        warnings: what looks wrong with the data.
    """

    text: str
    assumed: tuple[str, ...]
    warnings: tuple[str, ...]


class StartingPoint(NamedTuple):
    """What a list of starting points shows.

    Attributes:
        task: as the recipe says it.
        summary: its first comment.
    """

    task: str
    summary: str


def starting_points() -> dict[str, StartingPoint]:
    """Name -> starting point."""
    texts = {path.stem: path.read_text("utf-8") for path in sorted(STARTING_POINTS.glob("*.yaml"))}
    return {name: StartingPoint(task_of(text), _summary(text)) for name, text in texts.items()}


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


def task_of(text: str) -> str:
    """The task of a starting point."""
    match = re.search(r"^task: (\w+)", text, re.MULTILINE)
    assert match is not None, "every starting point names its task"
    return match[1]


def compose_recipe(text: str, *, recipe_path: Path, data_file: Path, facts: DataFacts, model: str | None) -> NewRecipe:
    """Fill a starting point in for a data file.

    Args:
        text: a starting point that has a train_file.
        recipe_path: where the recipe will lie; files are named relative to its folder.
        data_file: the training file.
        facts: what was seen in it.
        model: hub id, folder or `builtin:NAME`; None keeps the starting point's.
    """
    folder = recipe_path.parent
    values: dict[str, object] = {
        "data.train_file": relative(data_file, folder),
        "data.text_column": facts.text_column,
        "data.label_column": facts.label_column,
    }
    if facts.text_pair_column is not None:
        values["data.text_pair_column"] = facts.text_pair_column
    if model is not None:
        values["model.name_or_path"] = model
    size = 0.1 if facts.num_rows >= SMALL else 0.2
    values.update(sibling_values(facts.siblings, folder, size=size))
    filled = fill(text, values)
    return NewRecipe(filled, _assumptions(facts, size), _warnings(facts))


def sibling_values(siblings: Mapping[str, Path], folder: Path, *, size: float) -> dict[str, object]:
    """Values of the keys that say what is measured on: files beside the training file, or a part of it."""
    values: dict[str, object] = {f"data.{split}_file": relative(path, folder) for split, path in siblings.items()}
    return values | {"data.validation_size": None if "validation" in siblings else size}


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


def _assumptions(facts: DataFacts, size: float) -> tuple[str, ...]:
    rows = f"{facts.num_rows:,} rows" if facts.complete else f"the first {facts.num_rows:,} rows"
    labels = ", ".join(f"{name} ({count:,})" for name, count in _by_count(facts)[:6])
    more = f" and {len(facts.label_counts) - 6} more" if len(facts.label_counts) > 6 else ""
    assumed = [*facts.notes, f"{rows} looked at; {len(facts.label_counts)} labels: {labels}{more}"]
    split_off = f"{size:.0%} of the rows are split off, the same ones for the same seed"
    return (*assumed, *sibling_assumptions(facts.siblings, split_off))


def sibling_assumptions(siblings: Mapping[str, Path], split_off: str) -> list[str]:
    """What is measured on, in words; `split_off` says it of the validation set where no file lies there."""
    beside = {split: f"{path.name}, which lies beside the training file" for split, path in siblings.items()}
    assumed = [f"validation set: {beside.get('validation', split_off)}"]
    return [*assumed, f"test set: {beside['test']}"] if "test" in beside else assumed


def _warnings(facts: DataFacts) -> tuple[str, ...]:
    counts, warnings = facts.label_counts, []
    num_labelled = sum(counts.values())
    if len(counts) < 2:
        warnings.append(f"column {facts.label_column!r} has a single value: there is nothing to tell apart")
    elif len(counts) > 0.5 * num_labelled:
        warnings.append(
            f"column {facts.label_column!r} has {len(counts):,} values in {num_labelled:,} rows: more than half are "
            "different, it may not be a label; name another by --label-column"
        )
    elif rare := [name for name, count in counts.items() if count < 2]:
        warnings.append(f"{len(rare)} labels occur once, such as {rare[0]!r}: they cannot be both learnt and measured")
    if facts.num_bad_rows:
        warnings.append(f"rows that cannot be read: {facts.num_bad_rows}; `ftkit check` lists them")
    return tuple(warnings)


def _by_count(facts: DataFacts) -> list[tuple[str, int]]:
    return sorted(facts.label_counts.items(), key=lambda item: (-item[1], item[0]))
