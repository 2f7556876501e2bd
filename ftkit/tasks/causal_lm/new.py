"""What a head of rows tells `ftkit new` of a language model: texts, prompts with completions, or chats."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ftkit.data.columns.language import LanguageColumns, describe_unclear, guess_language_columns
from ftkit.data.columns.lessons import preference_columns, refuse_bad_answers, refuse_unobeyed
from ftkit.data.columns.names import columns_of
from ftkit.data.look import FileHead, recipe_for, rows_seen
from ftkit.errors import UserError
from ftkit.recipe.new import starting_point

if TYPE_CHECKING:
    from ftkit.recipe.new import NewRecipe

KINDS = ("text", "prompt", "completion", "messages")
columns = frozenset(KINDS)
KIND_OF_COLUMNS: dict[frozenset[str], Literal["text", "completion", "chat"]] = {
    frozenset({"text"}): "text",
    frozenset({"prompt", "completion"}): "completion",
    frozenset({"messages"}): "chat",
}
START_OF_KIND = {"text": "causal-lm-lora", "completion": "instruct", "chat": "instruct"}
"""Kind of data -> the starting point where none is named."""
FORM_KEYS = (
    *("text_column", "prompt_column", "completion_column", "messages_column", "template"),
    *("history_column", "system_column"),
)
"""Keys of `data` that say what an example is: a recipe has those of one form."""
SEPARATOR = "<|endoftext|>"
"""What commonly stands between the documents of a text file."""
LEARNT_OF_KIND = {"text": "everything", "completion": "the completion and its end", "chat": "the assistant's turns"}

_TAUGHT_TO_CHAT = re.compile(
    r"instruct|chat|(^|[-_/])(it|sft|dpo|rlhf)($|[-_])|qwen3-[0-9.]+b$|smollm3-3b$"
    r"|^builtin:(smollm2|tiny-qwen3|tiny-smollm3)$",
    re.IGNORECASE,
)


def usual_start(named: Collection[str]) -> str:
    """The starting point where neither one nor data is named."""
    return START_OF_KIND["completion" if set(named) & set(KINDS[1:]) else "text"]


def told_by(head: FileHead) -> str | None:
    """Why the data are for this task, in words; None where they do not look like it."""
    if head.is_text_file:
        return "task causal_lm: a text file has no labels"
    if preference_columns(head.rows) is not None:
        return "task causal_lm: the file holds answers of which one is preferred"
    kind = guess_language_columns(head.rows).kind
    if kind not in ("chat", "completion"):
        return None
    what = "messages" if kind == "chat" else "prompts and completions"
    return f"task causal_lm: the file holds {what}; --task classification would make a classifier"


def new_recipe(head: FileHead, *, start: str | None, path: Path, model: str | None) -> NewRecipe:
    """Fill a starting point in for a data file.

    Raises:
        UserError: it is not obvious what an example is, and not named.
    """
    found = _columns(head)
    assert found.kind is not None, "else it is refused"
    if found.template is None:
        read = [name for name in (found.text, found.prompt, found.completion, found.messages) if name is not None]
        refuse_unobeyed(
            head.rows,
            read,
            where=str(head.path),
            completions=found.kind == "completion",
            named=bool(head.named),
            keys=("--prompt-column", "--completion-column"),
        )
        if found.kind == "completion":
            refuse_bad_answers(head.rows, read, where=str(head.path))
    separated = head.is_text_file and any(SEPARATOR in str(row["text"]) for row in head.rows)
    template = _chat_template(found, model)
    # every form but one is commented out: a recipe that names two is refused
    values: dict[str, object] = {f"data.{key}": found.keys.get(key) for key in FORM_KEYS}
    values["data.document_separator"] = SEPARATOR if separated else None
    values["data.chat_template"] = template
    part = "of the documents are" if found.kind == "text" else "of the rows are"
    return recipe_for(
        head,
        starting_point(start or START_OF_KIND[found.kind]),
        values,
        path=path,
        model=model,
        assumed=[
            *found.notes,
            f"{rows_seen(head)} looked at",
            *_assumptions(head, found, separated=separated, template=template),
        ],
        split_off=f"{'of the text, its end, is' if head.is_text_file and not separated else part} split off",
    )


def _columns(head: FileHead) -> LanguageColumns:
    """What the options name, or else what the names of the columns say."""
    found = LanguageColumns("text") if head.is_text_file else _named_columns(head) or guess_language_columns(head.rows)
    if found.kind is None:
        fix = "name it: --text-column, --messages-column, or --prompt-column and --completion-column"
        raise UserError(describe_unclear(columns_of(head.rows), found), where=str(head.path), fix=fix)
    return found


def _named_columns(head: FileHead) -> LanguageColumns | None:
    """The form of which the options name every column; None where they name nothing."""
    if not head.named:
        return None
    kind = KIND_OF_COLUMNS.get(frozenset(head.named))
    if kind is None:
        fix = "one of --text-column, --messages-column, or --prompt-column with --completion-column"
        options = " and ".join(f"--{kind}-column" for kind in head.named)
        raise UserError(f"{options} do not say what an example is", fix=fix)
    text, prompt, completion, messages = map(head.named.get, KINDS)
    return LanguageColumns(kind, text=text, prompt=prompt, completion=completion, messages=messages)


def _chat_template(found: LanguageColumns, model: str | None) -> str | None:
    """`plain` for a model that does not look as if it had been taught to chat."""
    if found.kind != "chat" or (model is not None and _TAUGHT_TO_CHAT.search(model)):
        return None
    return "plain"


def _assumptions(head: FileHead, found: LanguageColumns, *, separated: bool, template: str | None) -> list[str]:
    assumed = []
    if separated:
        assumed.append(f"documents are separated by {SEPARATOR}, which the file has")
    elif head.is_text_file:
        assumed.append("the file is one document; data.document_separator would cut it into several")
    if found.kind == "chat" and template is None:
        assumed.append("chats are written as the model's own template says, for its name tells of chats")
    elif found.kind == "chat":
        assumed.append(f"chats are written in a {template} way; without chat_template the model's own template decides")
    return [*assumed, f"what is learnt: {LEARNT_OF_KIND[str(found.kind)]}"]
