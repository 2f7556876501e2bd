"""Which column holds the text, and which the label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ftkit.data.columns.names import SAMPLE_ROWS, columns_of, listing, refuse_absent
from ftkit.data.reading.nested import names_within
from ftkit.errors import UserError

TEXT_NAMES = ("text", "texts", "sentence", "content", "review", "document", "comment", "message", "tweet", "utterance",
              "question", "query", "body", "headline", "description")  # fmt: skip
LABEL_NAMES = ("label", "labels", "class", "category", "target", "intent", "sentiment", "emotion", "topic", "y",
               "label_text", "gold_label")  # fmt: skip


_LETTERS = 4
"""So many letters of a script without spaces are more than one word."""


@dataclass(frozen=True)
class ColumnGuess:
    """What was found; a column that is not obvious is None.

    Attributes:
        notes: how each column that was not named by the caller was found, one sentence each.
        candidates: `text` or `label` -> columns that could be it, where more than one could.
    """

    text: str | None
    label: str | None
    notes: tuple[str, ...]
    candidates: Mapping[str, tuple[str, ...]]


def guess_columns(
    rows: Sequence[Mapping[str, object]],
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
) -> ColumnGuess:
    """Find the text and the label column by their names, else by what is in them. Never raises.

    A name decides when exactly one column bears a usual one (`text`, `sentence`, `label`, `category`, ...). Otherwise
    the values do: a label repeats and is short, a text is a string that rarely repeats and has spaces. Two columns
    that fit equally well are a matter for the user: the field stays None and `candidates` lists them. Columns that are
    known already are passed through unchecked. The first 200 rows are looked at.

    Example:
        >>> guess = guess_columns([{"id": "1", "text": "good film", "label": "pos"}])
        >>> guess.text, guess.label
        ('text', 'label')
    """
    rows = rows[:SAMPLE_ROWS]
    columns = columns_of(rows)
    taken = {text_column, text_pair_column, label_column}
    notes: list[str] = []
    candidates: dict[str, tuple[str, ...]] = {}
    if label_column is None:
        found, how = _find([c for c in columns if c not in taken], LABEL_NAMES, rows, _looks_like_label)
        # a column called text is never the label merely because its texts are short and repeat
        found = found if how == "name" else [c for c in found if c.lower() not in TEXT_NAMES]
        label_column = _settle("label", found, how, notes, candidates)
        taken.add(label_column)
    if text_column is None:
        found, how = _find([c for c in columns if c not in taken], TEXT_NAMES, rows, _looks_like_text)
        text_column = _settle("text", found, how, notes, candidates)
    return ColumnGuess(text_column, label_column, tuple(notes), candidates)


def choose_columns(
    rows: Sequence[Mapping[str, object]],
    *,
    where: str,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
) -> ColumnGuess:
    """As `guess_columns`, but both columns are there in the end.

    Raises:
        UserError: a named column is absent, or a column is not named and not obvious.
    """
    columns = names_within(rows)
    named = {"text_column": text_column, "text_pair_column": text_pair_column, "label_column": label_column}
    for key, name in named.items():
        refuse_absent(name, columns, where=where, key=key)
    guess = guess_columns(rows, **named)
    missing = [kind for kind in ("text", "label") if getattr(guess, kind) is None]
    if missing:
        raise UserError(_unclear(missing, guess, columns), where=where, fix=_remedy(missing, guess, columns))
    return guess


def _find(
    columns: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    looks_like: Callable[[list[object]], bool],
) -> tuple[list[str], str]:
    by_name = [column for column in columns if column.strip().lower() in names]
    if by_name:
        return by_name, "name"
    return [column for column in columns if looks_like([row.get(column) for row in rows])], "content"


def _settle(
    kind: str, found: list[str], how: str, notes: list[str], candidates: dict[str, tuple[str, ...]]
) -> str | None:
    if len(found) != 1:
        candidates.update({kind: tuple(found)} if found else {})
        return None
    by = "by its name" if how == "name" else "by its contents"
    notes.insert(0, f"{kind} column `{found[0]}`, found {by}")
    return found[0]


def _looks_like_label(values: list[object]) -> bool:
    present = [value for value in values if value is not None and value != ""]
    if not present or any(not isinstance(value, str | int) for value in present):
        return False
    spellings = [str(value) for value in present]
    distinct = len(set(spellings))
    return max(map(len, spellings)) <= 60 and 2 <= distinct <= max(2, len(spellings) // 3)


def _looks_like_text(values: list[object]) -> bool:
    present = [value for value in values if isinstance(value, str) and value]
    if len(present) < 0.8 * len(values) or not present:
        return False
    with_space = sum(" " in value.strip() or _needs_no_spaces(value) for value in present)
    return with_space >= 0.5 * len(present) and len(set(present)) >= 0.5 * len(present)


def _needs_no_spaces(text: str) -> bool:
    """Whether a text is several words of a script that sets none between them: Thai to Khmer, kana, ideographs."""
    letters = [letter for letter in text if "\u0e00" <= letter <= "\u17ff" or "\u3040" <= letter <= "\u9fff"]
    return len(letters) >= _LETTERS and 2 * len(letters) >= len(text)


def _unclear(missing: Sequence[str], guess: ColumnGuess, columns: Sequence[str]) -> str:
    parts = []
    for kind in missing:
        several = guess.candidates.get(kind)
        parts.append(
            f"more than one column could be the {kind}: {listing(several)}"
            if several
            else f"no column is clearly the {kind}"
        )
    return f"{' and '.join(parts)} (columns: {listing(columns)})"


def _remedy(missing: Sequence[str], guess: ColumnGuess, columns: Sequence[str]) -> str:
    keys = " and ".join(f"data.{kind}_column" for kind in missing)
    several = len(guess.candidates.get("text", ())) > 1
    pair = "; for two texts a row, name the second in data.text_pair_column" if several else ""
    if len(columns) < 2:
        return "training takes a text and a label in each row: write the rows as CSV or JSON lines with both"
    return f"name it in {keys}{pair}"
