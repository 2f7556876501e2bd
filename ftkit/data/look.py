"""What `ftkit new` sees in a data file: the task that it is for, and its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.data.columns.labelled import ColumnGuess
    from ftkit.data.columns.language import LanguageColumns
    from ftkit.recipe.new import DataFacts
    from ftkit.tasks.causal_lm.new import LanguageFacts

MAX_ROWS = 20_000
"""Rows looked at; enough to tell a label from a text, and quick on any file."""
SEPARATOR = "<|endoftext|>"
"""What commonly stands between the documents of a text file."""


@dataclass(frozen=True)
class Head:
    """The first rows of a file.

    Attributes:
        path: the file.
        rows: column -> value of each row that can be read; there is one.
        complete: whether these are all rows.
        num_bad_rows: rows among them that cannot be read.
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
        return self.path.suffix.lower() == ".txt"

    def guess(self) -> ColumnGuess:
        """The columns of a classifier's data."""
        from ftkit.data.columns.labelled import guess_columns

        columns = {f"{kind}_column": self.named.get(kind) for kind in ("text", "text_pair", "label")}
        return guess_columns(self.rows, **columns)


def read_head(data: Path, *, encoding: str, named: Mapping[str, str]) -> Head:
    """Read the first rows of a file, or of the one called train in a folder.

    Raises:
        UserError: there is no such file, no row of it can be read, or a named column is not in it.
    """
    from ftkit.data.reading.files import BadRow, iter_rows
    from ftkit.data.reading.nested import names_within

    data = _training_file(data)
    seen = list(islice(iter_rows(data, encoding=encoding), MAX_ROWS + 1))
    complete, seen = len(seen) <= MAX_ROWS, seen[:MAX_ROWS]
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
    return Head(data, rows, complete, len(seen) - len(rows), named)


def task_of_data(head: Head) -> tuple[str, str]:
    """The task that a file is for, and why, in words; empty for a classifier, which is the common case.

    A column with the name of a label decides for a classifier; else messages, or prompts with completions, decide for a
    language model, and other usual names of two texts for text to text.
    """
    from ftkit.data.columns.language import guess_language_columns
    from ftkit.data.columns.pairs import guess_pair_columns, pair_by_name

    if head.is_text_file:
        return "causal_lm", "task causal_lm: a text file has no labels"
    if is_labelled(head):
        return "classification", ""
    otherwise = "--task classification would make a classifier"
    found = guess_language_columns(head.rows)
    if found.kind in ("chat", "completion"):
        what = "messages" if found.kind == "chat" else "prompts and completions"
        return "causal_lm", f"task causal_lm: the file holds {what}; {otherwise}"
    pair = pair_by_name(head.rows)
    if pair is not None:
        return "seq2seq", f"task seq2seq: {pair.source} is to become {pair.target}; {otherwise}"
    if guess_pair_columns(head.rows).languages:
        return "seq2seq", f"task seq2seq: the file holds translations; {otherwise}"
    return "classification", ""


def is_labelled(head: Head) -> bool:
    """Whether there are a text and a column with the name of a label; `target` beside a `source` is none."""
    from ftkit.data.columns.labelled import LABEL_NAMES, TEXT_NAMES
    from ftkit.data.columns.pairs import pair_by_name

    guess, pair = head.guess(), pair_by_name(head.rows)
    if guess.text is None or guess.label is None or guess.label.strip().lower() not in LABEL_NAMES:
        return False
    if pair is None or pair.target != guess.label:
        return True
    return pair.source is not None and pair.source.strip().lower() in TEXT_NAMES


def classification_facts(head: Head) -> DataFacts:
    """Find text and label.

    Raises:
        UserError: a column is not obvious and not named.
    """
    from ftkit.data.columns.names import columns_of
    from ftkit.recipe.new import DataFacts

    guess = head.guess()
    if guess.text is None or guess.label is None:
        kinds = [kind for kind in ("text", "label") if getattr(guess, kind) is None]
        options = " and ".join(f"--{kind}-column" for kind in kinds)
        fix = f"say {options}; columns: {some(columns_of(head.rows))}"
        if guess.label is None:
            fix += "; without labels there is --task causal_lm, and --task seq2seq for texts that become others"
        raise UserError(f"no column is clearly the {' or the '.join(kinds)}", where=str(head.path), fix=fix)
    labels = Counter(str(value) for row in head.rows if (value := row.get(guess.label)) not in (None, ""))
    return DataFacts(
        num_rows=len(head.rows),
        complete=head.complete,
        label_counts=labels,
        text_column=guess.text,
        text_pair_column=head.named.get("text_pair"),
        label_column=guess.label,
        notes=guess.notes,
        siblings=siblings_of(head.path),
        num_bad_rows=head.num_bad_rows,
    )


def language_facts(head: Head) -> LanguageFacts:
    """Find messages, prompt and completion, or text.

    Raises:
        UserError: none of them is obvious or named, or the columns named do not go together.
    """
    from ftkit.data.columns.language import LanguageColumns, describe_unclear, guess_language_columns
    from ftkit.data.columns.names import columns_of
    from ftkit.tasks.causal_lm.new import LanguageFacts

    found = LanguageColumns("text") if head.is_text_file else _named_columns(head) or guess_language_columns(head.rows)
    if found.kind is None:
        columns = columns_of(head.rows)
        fix = "name it: --text-column, --messages-column, or --prompt-column and --completion-column"
        raise UserError(describe_unclear(columns, found), where=str(head.path), fix=fix)
    separated = head.is_text_file and any(SEPARATOR in str(row["text"]) for row in head.rows)
    return LanguageFacts(
        kind=found.kind,
        columns=_form(found),
        num_rows=len(head.rows),
        complete=head.complete,
        separator=SEPARATOR if separated else None,
        notes=found.notes,
        siblings=siblings_of(head.path),
        num_bad_rows=head.num_bad_rows,
    )


def _named_columns(head: Head) -> LanguageColumns | None:
    """The form of which the options name every column; None where they name nothing."""
    from ftkit.data.columns.language import LanguageColumns

    named = head.named
    if named.keys() not in ({"text"}, {"prompt", "completion"}, {"messages"}, set()):
        fix = "one of --text-column, --messages-column, or --prompt-column with --completion-column"
        options = " and ".join(f"--{kind}-column" for kind in named)
        raise UserError(f"{options} do not say what an example is", fix=fix)
    if not named:
        return None
    kind: Literal["text", "completion", "chat"]
    kind = "text" if "text" in named else "chat" if "messages" in named else "completion"
    text, prompt, completion, messages = map(named.get, ("text", "prompt", "completion", "messages"))
    return LanguageColumns(kind, text=text, prompt=prompt, completion=completion, messages=messages)


def _form(found: LanguageColumns) -> dict[str, str]:
    """Keys of the recipe's `data` that say what an example is."""
    if found.template is not None:
        return {"template": found.template}
    named = {kind: getattr(found, kind) for kind in ("text", "prompt", "completion", "messages")}
    return {f"{kind}_column": column for kind, column in named.items() if column is not None}


def _training_file(data: Path) -> Path:
    """The file itself, or the one called train in a folder."""
    if not data.is_dir():
        return data
    there = sorted(path for path in data.iterdir() if path.stem.lower() == "train" and path.is_file())
    if len(there) != 1:
        what = "no file called train" if not there else "more than one file called train"
        raise UserError(f"{what} in this folder", where=str(data), fix="name the training file: --data FILE")
    return there[0]


def some(columns: Sequence[str]) -> str:
    """Columns for a message, at most twelve."""
    return ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")


def siblings_of(data: Path) -> dict[str, Path]:
    """The validation and test files that lie beside a file called train."""
    if data.stem.lower() != "train":
        return {}
    names = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
    found = {}
    for split, stems in names.items():
        there = [data.with_name(f"{stem}{data.suffix}") for stem in stems]
        if near := next((path for path in there if path.is_file()), None):
            found[split] = near
    return found
