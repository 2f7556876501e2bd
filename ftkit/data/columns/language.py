"""Which columns a language model learns from: chats, prompts with completions, or plain text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ftkit.data.columns.labelled import guess_columns
from ftkit.data.columns.names import SAMPLE_ROWS, columns_of, is_filled, is_scalar, listing, lowered, mostly
from ftkit.data.form import MESSAGES_NAMES, SYSTEM_NAMES, are_messages

COMPLETIONS_OF_PROMPT = {
    "prompt": ("completion", "response", "output", "answer"),
    "instruction": ("output", "response", "completion", "answer"),
    "question": ("answer", "response", "completion", "output"),
    "query": ("answer", "response", "completion", "output"),
    "input": ("output", "response", "completion"),
}
"""Usual name of a prompt column -> those of its completion, the likeliest first."""
BELOW_NAMES = ("input", "context")
"""Usual names of a column with what an instruction or a question is about."""
_LANGUAGE_TEXT_NAMES = ("text", "content")
"""Names that win where several columns hold text."""


@dataclass(frozen=True)
class LanguageColumns:
    """The columns that were found; kind is None when nothing is clear.

    Attributes:
        notes: how they were found and what is left unused, one sentence each.
        template: for `completion` where a third column belongs into the prompt, else None; `<learn>` stands before
            what is to be learnt.
        candidates: columns that could be the text, where several could and none was taken.
        history: column of the turns before a prompt, which make it a chat.
        system: column of what the system is told before a prompt; the same.
    """

    kind: Literal["text", "completion", "chat"] | None
    text: str | None = None
    prompt: str | None = None
    completion: str | None = None
    messages: str | None = None
    notes: tuple[str, ...] = ()
    template: str | None = None
    candidates: tuple[str, ...] = ()
    history: str | None = None
    system: str | None = None

    @property
    def keys(self) -> dict[str, str]:
        """Keys of a recipe's `data` that say the same; none for a text file, which has no columns."""
        names = ("text", "prompt", "completion", "messages", "history", "system")
        within = names if self.template is None else names[-2:]
        found = {f"{name}_column": column for name in within if (column := getattr(self, name)) is not None}
        return found if self.template is None else {"template": self.template, **found}


def guess_language_columns(rows: Sequence[Mapping[str, object]]) -> LanguageColumns:
    """Find the columns by their names, plain text also by what is in the rows. Never raises.

    Messages are preferred to a prompt with its completion, and both to plain text, for sets that have several of them
    hold the same content in several forms. The first 200 rows are looked at.

    Example:
        >>> found = guess_language_columns([{"id": 1, "question": "How far is it?", "answer": "Two miles."}])
        >>> found.kind, found.prompt, found.completion
        ('completion', 'question', 'answer')
    """
    rows = rows[:SAMPLE_ROWS]
    columns = columns_of(rows)
    return _chat(rows, columns) or _pair(rows, columns) or _text(rows, columns)


def _chat(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> LanguageColumns | None:
    by_lower = lowered(columns)
    found = [by_lower[name] for name in MESSAGES_NAMES if name in by_lower]
    column = next((name for name in found if _hold(rows, name, are_messages)), None)
    if column is None:
        return None
    return LanguageColumns("chat", messages=column, notes=(f"messages column `{column}`, found by its name",))


def _pair(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> LanguageColumns | None:
    by_lower = lowered(columns)
    for prompt, completions in COMPLETIONS_OF_PROMPT.items():
        completion = next((name for name in completions if name in by_lower), None)
        if prompt not in by_lower or completion is None:
            continue
        names = by_lower[prompt], by_lower[completion]
        note = f"prompt column `{names[0]}` and completion column `{names[1]}`, found by their names"
        if all(_hold(rows, name, are_messages) for name in names):
            return LanguageColumns("chat", prompt=names[0], completion=names[1], notes=(note, "both hold messages"))
        if not all(_hold(rows, name, is_scalar) for name in names):
            continue
        earlier, context = _earlier(rows, by_lower), _context(rows, by_lower, taken=names)
        about = f"column `{context}` is not empty everywhere, so it stands below the prompt"
        return LanguageColumns(
            earlier.kind,
            prompt=names[0],
            completion=names[1],
            notes=(note, *([about] if context else []), *earlier.notes),
            template=None if context is None else f"{{{names[0]}}}\n{{{context}}}\n<learn>{{{names[1]}}}",
            history=earlier.history,
            system=earlier.system,
        )
    return None


class _Earlier(NamedTuple):
    """What stands before the prompts of some rows, and makes chats of them."""

    kind: Literal["completion", "chat"] = "completion"
    notes: tuple[str, ...] = ()
    history: str | None = None
    system: str | None = None


def _earlier(rows: Sequence[Mapping[str, object]], by_lower: Mapping[str, str]) -> _Earlier:
    kinds = {"history": ("history",), "system": SYSTEM_NAMES}
    columns = {}
    for kind, names in kinds.items():
        there = (by_lower[name] for name in names if name in by_lower)
        column = next((name for name in there if is_filled(rows, name)), None)
        if column is not None:
            columns[kind] = column
    if not columns:
        return _Earlier()
    told = " and ".join(f"`{name}`" for name in columns.values())
    note = f"what stands before the prompts, in {told}, makes chats of them"
    return _Earlier("chat", (note,), columns.get("history"), columns.get("system"))


def _context(
    rows: Sequence[Mapping[str, object]], by_lower: Mapping[str, str], *, taken: tuple[str, str]
) -> str | None:
    """The column of what the prompt is about, when any row has something in it."""
    columns = (by_lower[name] for name in BELOW_NAMES if name in by_lower and by_lower[name] not in taken)
    for column in columns:
        values = [row.get(column) for row in rows]
        if any(isinstance(value, str) and value.strip() for value in values):
            return column
    return None


def _text(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> LanguageColumns:
    if len(columns) == 1 and _hold(rows, columns[0], is_scalar):
        return LanguageColumns("text", text=columns[0], notes=(f"text column `{columns[0]}`, the only column",))
    by_lower = lowered(columns)
    for name in _LANGUAGE_TEXT_NAMES:
        if name in by_lower and _hold(rows, by_lower[name], is_scalar):
            return LanguageColumns(
                "text", text=by_lower[name], notes=(f"text column `{by_lower[name]}`, found by its name",)
            )
    # the empty name keeps every column a candidate for the text: no label is looked for
    guess = guess_columns(rows, label_column="")
    if guess.text is None or not _hold(rows, guess.text, is_scalar):
        return LanguageColumns(None, candidates=guess.candidates.get("text", ()))
    return LanguageColumns("text", text=guess.text, notes=guess.notes)


def describe_unclear(columns: Sequence[str], found: LanguageColumns) -> str:
    """One sentence on why nothing was found, for a message."""
    if found.candidates:
        return f"more than one column could be the text: {listing(found.candidates)}"
    return f"no column is clearly the text, the messages, or a prompt with its completion (columns: {listing(columns)})"


def _hold(rows: Sequence[Mapping[str, object]], column: str, fits: Callable[[object], bool]) -> bool:
    return mostly([row.get(column) for row in rows], fits)
