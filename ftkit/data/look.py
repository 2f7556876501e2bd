"""What `ftkit new` sees in a data file, whatever it is for, and how a starting point is filled in for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftkit.data.columns.labelled import LABEL_NAMES, TEXT_NAMES, ColumnGuess, guess_columns
from ftkit.data.columns.names import USUAL_NAMES, columns_of
from ftkit.data.columns.pairs import guess_pair_columns, pair_by_name
from ftkit.data.labels import LabelReader, refuse_no_classes
from ftkit.data.reading.asked import FileReading, iter_asked
from ftkit.data.reading.files import file_format
from ftkit.data.reading.folders.classes import class_folders
from ftkit.data.reading.nested import get, names_within
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError
from ftkit.recipe.files import are_classes
from ftkit.recipe.new import NewRecipe, fill, relative

ROWS_SEEN = 20_000
"""Rows looked at; enough to tell a label from a text, and quick on any file."""
FEW_ROWS = 200
"""Rows below which a fifth, not a tenth, is split off for validation: a tenth would measure next to nothing."""
LABELS_SHOWN = 6


@dataclass(frozen=True)
class FileHead:
    """The first rows of a file that can be read, at least one, and how many between them cannot be.

    Attributes:
        complete: whether these are all rows.
        named: columns named on the command line, by `text`, `text_pair`, `label`, `prompt`, `completion`, `messages`,
            `source`, `target`.
    """

    path: Path
    rows: Sequence[Mapping[str, object]]
    complete: bool
    num_bad_rows: int
    named: Mapping[str, str]

    @property
    def is_text_file(self) -> bool:
        """Whether a row is a mere line."""
        return file_format(self.path) == "text"

    @property
    def validation_share(self) -> float:
        """What is split off where no validation set lies beside the file."""
        return 0.1 if self.is_text_file or len(self.rows) >= FEW_ROWS else 0.2

    def guess(self) -> ColumnGuess:
        """The columns of a text and its label."""
        columns = {f"{kind}_column": self.named.get(kind) for kind in ("text", "text_pair", "label")}
        return guess_columns(self.rows, **columns)


def read_head(data: Path, reading: FileReading, *, named: Mapping[str, str]) -> FileHead:
    """Read the first rows of a file, or of the one called train in a folder.

    Raises:
        UserError: there is no such file, no row of it can be read, or a named column is not in it.
    """
    data = _training_file(data)
    seen = list(islice(iter_asked(data, reading, say=lambda _: None), ROWS_SEEN + 1))
    complete, seen = len(seen) <= ROWS_SEEN, seen[:ROWS_SEEN]
    rows = [row.values for row in seen if not isinstance(row, BadRow)]
    if not rows:
        first = next((row for row in seen if isinstance(row, BadRow)), None)
        where = f"{data}:{first.line}" if first else str(data)
        raise UserError(
            first.reason if first else "there is no row in it", where=where, fix=first.fix if first else None
        )
    columns = names_within(rows)
    for kind, name in named.items():
        if name not in columns:
            option = f"--{kind.replace('_', '-')}-column"
            raise UserError(f"no column {name!r} ({option})", where=str(data), fix=f"columns: {some(columns)}")
    return FileHead(data, rows, complete, len(seen) - len(rows), named)


def _training_file(data: Path) -> Path:
    """The file or folder of classes itself, or what is called train in a folder."""
    if not data.is_dir() or are_classes(folder.name for folder in class_folders(data)):
        return data
    there = sorted(path for path in data.iterdir() if _is_train(path))
    if len(there) != 1:
        what = "no file called train" if not there else "more than one file called train"
        raise UserError(f"{what} in this folder", where=str(data), fix="name the training file: --data FILE")
    return there[0]


def _is_train(path: Path) -> bool:
    return path.name.lower().partition(".")[0] == "train"


def some(columns: Sequence[str]) -> str:
    """Columns for a message, at most twelve."""
    return ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")


def _siblings_of(data: Path) -> dict[str, Path]:
    """`validation` and `test` -> the file that lies beside a file called train."""
    if not _is_train(data):
        return {}
    found = {}
    endings = data.name[len("train") :]
    for split, stems in USUAL_NAMES.items():
        there = [data.with_name(f"{stem}{endings}") for stem in stems]
        if near := next((path for path in there if path.exists()), None):
            found[split] = near
    return found


def recipe_for(
    head: FileHead,
    text: str,
    values: Mapping[str, object],
    *,
    path: Path,
    model: str | None,
    assumed: Sequence[str],
    split_off: str,
    warnings: Sequence[str] = (),
) -> NewRecipe:
    """Fill a starting point, the text of a recipe that has a train_file, in for a data file.

    Args:
        values: dotted key -> what the data tell of it; see `fill`.
        path: where the recipe will lie; files are named relative to its folder.
        model: hub id, folder or `builtin:NAME`; None keeps the starting point's.
        assumed: how the columns were found, and what is learnt.
        split_off: what becomes the validation set where no file is one, in words behind its share.
        warnings: what looks wrong with the data, but for rows that cannot be read.
    """
    siblings, size = _siblings_of(head.path), head.validation_share
    in_folds = "\n  validation: folds" in text
    filled: dict[str, object] = {"data.train_file": relative(head.path, path.parent), **values}
    if model is not None:
        filled["model.name_or_path"] = model
    filled |= {f"data.{split}_file": relative(file, path.parent) for split, file in siblings.items()}
    if "validation" in siblings:
        filled["data.validation" if in_folds else "data.validation_size"] = None
    elif not in_folds:
        filled["data.validation_size"] = size
    beside = {split: f"{file.name}, which lies beside the training file" for split, file in siblings.items()}
    without = "every row is scored out of fold" if in_folds else f"{size:.0%} {split_off}"
    measured = [f"validation set: {beside.get('validation', without)}"]
    measured += [f"test set: {beside['test']}"] if "test" in beside else []
    bad = [f"rows that cannot be read: {head.num_bad_rows}; `ftkit check` lists them"] if head.num_bad_rows else []
    return NewRecipe(fill(text, filled), (*assumed, *measured), (*warnings, *bad))


def rows_seen(head: FileHead) -> str:
    """How many rows were looked at, in words."""
    what = "lines" if head.is_text_file else "rows"
    return f"{len(head.rows):,} {what}" if head.complete else f"the first {len(head.rows):,} {what}"


def is_labelled(head: FileHead) -> bool:
    """Whether there are a text and a column with the name of a label; `target` beside a `source` is none."""
    guess, pair = head.guess(), pair_by_name(head.rows)
    if guess.label in guess_pair_columns(head.rows).lists:
        return False
    if guess.text is None or guess.label is None or guess.label.strip().lower() not in LABEL_NAMES:
        return False
    if pair is None or pair.target != guess.label:
        return True
    return pair.source is not None and pair.source.strip().lower() in TEXT_NAMES


def labelled_recipe(head: FileHead, text: str, *, path: Path, model: str | None) -> NewRecipe:
    """Fill a starting point in for texts and their labels, as `recipe_for` does.

    Raises:
        UserError: a column is not obvious and not named.
    """
    guess = head.guess()
    if guess.text is None or guess.label is None:
        kinds = [kind for kind in ("text", "label") if getattr(guess, kind) is None]
        fix = f"say {' and '.join(f'--{kind}-column' for kind in kinds)}; columns: {some(columns_of(head.rows))}"
        if guess.label is None:
            fix += "; without labels there is --task causal_lm, and --task seq2seq for texts that become others"
        raise UserError(f"no column is clearly the {' or the '.join(kinds)}", where=str(head.path), fix=fix)
    _refuse_no_classes(head, guess.label)
    counts = Counter(str(value) for row in head.rows if (value := get(row, guess.label)) not in (None, ""))
    values = {"data.text_column": guess.text, "data.label_column": guess.label}
    if (pair := head.named.get("text_pair")) is not None:
        values["data.text_pair_column"] = pair
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    labels = ", ".join(f"{name} ({count:,})" for name, count in ordered[:LABELS_SHOWN])
    more = f" and {len(counts) - LABELS_SHOWN} more" if len(counts) > LABELS_SHOWN else ""
    return recipe_for(
        head,
        text,
        values,
        path=path,
        model=model,
        assumed=(*guess.notes, f"{rows_seen(head)} looked at; {len(counts)} labels: {labels}{more}"),
        split_off="of the rows are split off, the same ones for the same seed",
        warnings=_label_warnings(guess.label, counts),
    )


def _refuse_no_classes(head: FileHead, column: str) -> None:
    """What `ftkit check` would refuse: labels that are no classes."""
    reader = LabelReader(column, None, None, stated=False)
    refused: list[Unusable] = []
    for number, row in enumerate(head.rows, 1):
        try:
            reader.read(Row(number, dict(row)))
        except Unusable as error:
            refused.append(error)
    if len(refused) - reader.num_missing > 0.5 * len(head.rows):
        raise UserError(refused[-1].reason, where=str(head.path), fix=refused[-1].fix)
    refuse_no_classes(reader.seen, column=column, where=str(head.path))


def _label_warnings(column: str, counts: Mapping[str, int]) -> list[str]:
    num_labelled = sum(counts.values())
    if len(counts) < 2:
        return [f"column {column!r} has a single value: there is nothing to tell apart"]
    if len(counts) > 0.5 * num_labelled:
        return [
            f"column {column!r} has {len(counts):,} values in {num_labelled:,} rows: more than half are "
            "different, it may not be a label; name another by --label-column"
        ]
    if rare := [name for name, count in counts.items() if count < 2]:
        return [f"{len(rare)} labels occur once, such as {rare[0]!r}: they cannot be both learnt and measured"]
    return []
