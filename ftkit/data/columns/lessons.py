"""Columns that say which answers are good, or what stands before a prompt: obeyed elsewhere, or refused here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ftkit.data.columns.language import COMPLETIONS_OF_PROMPT
from ftkit.data.columns.names import columns_of, is_filled, lowered, mostly
from ftkit.data.form import SYSTEM_NAMES, are_messages
from ftkit.errors import UserError
from ftkit.recipe.generative import LEARN

PREFERENCES = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("preferred", "dispreferred"),
    ("winner", "loser"),
    *((f"{what}_{one}", f"{what}_{other}") for one, other in (("a", "b"), ("j", "k"), ("0", "1"), ("1", "2"))
      for what in ("response", "answer", "completion", "output", "conversation", "human_ref")),
)  # fmt: skip
"""Usual names of two columns with answers of which one is preferred; the first of the early ones is the better."""
_BETTER = frozenset(name for name, _ in PREFERENCES[:4])
_VERDICTS = ("label", "labels", "desirable", "is_desirable", "is_good")
_TASKS = {"prefix": 1, "task_prefix": 1, "task": 2}
"""Usual names of a column with what is to be done with a row, and of how many values on it matters."""
_MOST_TASKS = 100
_EARLIER = ("history", *SYSTEM_NAMES)


def refuse_unobeyed(
    rows: Sequence[Mapping[str, object]],
    read: Collection[str],
    *,
    where: str,
    completions: bool,
    named: bool,
    keys: tuple[str, str],
) -> None:
    """Refuse data with columns that change what is to be learnt and that nothing reads.

    Args:
        rows: the first of the training set.
        read: columns that examples are made of; a template names them all, and is not asked about others.
        where: the file, for messages.
        completions: whether a row is a prompt with its completion.
        named: whether a person chose the columns, who may leave turns before the prompt out.
        keys: of a recipe, that name the columns of the two.

    Raises:
        UserError: of two answers one is preferred, and neither is what is read; a system's turn or earlier turns stand
            beside the prompts.
    """
    by_lower, pair = lowered(columns_of(rows)), preference_columns(rows)
    if pair is not None and len(set(pair) & set(read)) != 1:
        raise _preferences(rows, *pair, by_lower, where, keys)
    if completions and not named:
        _refuse_earlier_turns(rows, read, by_lower, where)


class TaskBeside(NamedTuple):
    """A column with what is to be done with a row, and the template by which it stands before the prompt."""

    column: str
    template: str


def task_beside(rows: Sequence[Mapping[str, object]], read: Sequence[str]) -> TaskBeside | None:
    """The column of a file of several tasks that tells them apart, where the prompts do not begin with it already.

    Args:
        rows: the first of the training set.
        read: the columns of the prompt, of the completion, and others.
    """
    by_lower, (prompt, completion) = lowered(columns_of(rows)), read[:2]
    for column, least in ((by_lower[name], least) for name, least in _TASKS.items() if name in by_lower):
        tasks = {str(row.get(column) or "").strip() for row in rows} - {""}
        told = all(str(row.get(prompt)).lstrip().startswith(str(row.get(column) or "").strip()) for row in rows)
        if column not in read and least <= len(tasks) <= _MOST_TASKS and not told:
            colon = "" if all(task.endswith(":") for task in tasks) else ":"
            return TaskBeside(column, f"{{{column}}}{colon} {{{prompt}}}{LEARN}{{{completion}}}")
    return None


def preference_columns(rows: Sequence[Mapping[str, object]]) -> tuple[str, str] | None:
    """Two columns with answers of which one is preferred, if any."""
    by_lower = lowered(columns_of(rows))
    return next(((by_lower[a], by_lower[b]) for a, b in PREFERENCES if a in by_lower and b in by_lower), None)


def verdict_column(rows: Sequence[Mapping[str, object]], read: Collection[str]) -> str | None:
    """The column that says which answers are good (true) and which are bad (false), where nothing else reads it."""
    by_lower = lowered(columns_of(rows))
    names = (by_lower[name] for name in _VERDICTS if name in by_lower and by_lower[name] not in read)
    return next((name for name in names if mostly([row.get(name) for row in rows], _is_verdict)), None)


def refuse_bad_answers(rows: Sequence[Mapping[str, object]], read: Collection[str], *, where: str) -> None:
    """Refuse to propose a recipe for rows of which some are marked as bad.

    Raises:
        UserError: some are.
    """
    verdict = verdict_column(rows, read)
    if verdict is not None and any(str(row.get(verdict)).strip().lower() == "false" for row in rows):
        fix = f"keep the rows of which {verdict} is true; data.on_bad_row: skip leaves the others out"
        raise UserError(f"column {verdict} says that some answers are bad", where=where, fix=fix)


def _is_verdict(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false"))


def _refuse_earlier_turns(
    rows: Sequence[Mapping[str, object]], read: Collection[str], by_lower: Mapping[str, str], where: str
) -> None:
    for name in (by_lower[name] for name in _EARLIER if name in by_lower and by_lower[name] not in read):
        if is_filled(rows, name):
            turns = name.lower() == "history"
            what = "the turns before the prompt" if turns else "what the system is told"
            template = f"name it in data.template, such as {{{name}}}, or "
            raise UserError(
                f"column {name} holds {what}, and nothing reads it",
                where=where,
                fix=f"{'' if turns else template}write the rows as chats (a column `messages`); columns that are"
                " named leave it out",
            )


def _preferences(
    rows: Sequence[Mapping[str, object]],
    one: str,
    other: str,
    by_lower: Mapping[str, str],
    where: str,
    keys: tuple[str, str],
) -> UserError:
    prompt = next((by_lower[name] for name in COMPLETIONS_OF_PROMPT if name in by_lower), None)
    first = rows[0].get(one)
    if one.strip().lower() not in _BETTER:
        fix = "write the better answer of each row into a column of its own, and name that one"
    elif are_messages(first) and prompt is not None and are_messages(rows[0].get(prompt)):
        fix = f"write {prompt} and {one} as one list of messages into a column `messages`"
    elif are_messages(first):
        fix = f"data.messages_column: {one} learns the better ones"
    elif prompt is not None:
        fix = f"{keys[0]}: {prompt} and {keys[1]}: {one} learn the better ones"
    else:
        fix = f"data.text_column: {one} learns the better ones (task causal_lm)"
    return UserError(
        f"columns {one} and {other} are answers of which one is preferred; ftkit learns from examples, not from"
        " preferences (no DPO, no KTO)",
        where=where,
        fix=fix,
    )
