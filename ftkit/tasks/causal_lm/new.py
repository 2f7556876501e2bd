"""A commented recipe for a language model from a starting point, filled in for a data file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ftkit.recipe.new import SMALL, NewRecipe, fill, relative, sibling_assumptions, sibling_values

STARTING_POINT = {"text": "causal-lm-lora", "completion": "instruct", "chat": "instruct"}
"""Kind of data -> the starting point where none is named."""

FORM_KEYS = ("text_column", "prompt_column", "completion_column", "messages_column", "template")
"""Keys of `data` that say what an example is: a recipe has those of one form."""

_TAUGHT_TO_CHAT = re.compile(
    r"instruct|chat|(^|[-_/])(it|sft|dpo|rlhf)($|[-_])|qwen3-[0-9.]+b$|smollm3-3b$"
    r"|^builtin:(smollm2|tiny-qwen3|tiny-smollm3)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class LanguageFacts:
    """What was seen in a data file.

    Attributes:
        kind: what an example is.
        columns: keys of FORM_KEYS -> column or template; empty for a text file, which has no columns.
        num_rows: rows looked at; lines of a text file.
        complete: whether these are all rows.
        separator: what stands between the documents of a text file, None where it is one document.
        notes: how the columns were found.
        siblings: `validation` and `test` -> file that lies beside the training file.
        num_bad_rows: rows that cannot be read.
    """

    kind: Literal["text", "completion", "chat"]
    columns: Mapping[str, str]
    num_rows: int
    complete: bool
    separator: str | None = None
    notes: Sequence[str] = ()
    siblings: Mapping[str, Path] = field(default_factory=dict)
    num_bad_rows: int = 0

    @property
    def is_text_file(self) -> bool:
        """Whether lines, not documents, were counted."""
        return self.kind == "text" and not self.columns


def compose_language_recipe(
    text: str, *, recipe_path: Path, data_file: Path, facts: LanguageFacts, model: str | None
) -> NewRecipe:
    """Fill a starting point of task causal_lm in for a data file.

    Args:
        text: a starting point that has a train_file.
        recipe_path: where the recipe will lie; files are named relative to its folder.
        data_file: the training file.
        facts: what was seen in it.
        model: hub id, folder or `builtin:NAME`; None keeps the starting point's.
    """
    folder = recipe_path.parent
    values: dict[str, object] = {"data.train_file": relative(data_file, folder)}
    # every form but one is commented out: a recipe that names two is refused
    values.update({f"data.{key}": facts.columns.get(key) for key in FORM_KEYS})
    values["data.document_separator"] = facts.separator
    template = _chat_template(facts, model)
    values["data.chat_template"] = template
    if model is not None:
        values["model.name_or_path"] = model
    size = 0.1 if facts.is_text_file or facts.num_rows >= SMALL else 0.2
    values.update(sibling_values(facts.siblings, folder, size=size))
    return NewRecipe(fill(text, values), _assumptions(facts, size, template), _warnings(facts))


def _chat_template(facts: LanguageFacts, model: str | None) -> str | None:
    """`plain` for a model that does not look as if it had been taught to chat."""
    if facts.kind != "chat" or (model is not None and _TAUGHT_TO_CHAT.search(model)):
        return None
    return "plain"


def _assumptions(facts: LanguageFacts, size: float, template: str | None) -> tuple[str, ...]:
    assumed = list(facts.notes)
    what = "lines" if facts.is_text_file else "rows"
    seen = f"{facts.num_rows:,} {what}" if facts.complete else f"the first {facts.num_rows:,} {what}"
    assumed.append(f"{seen} looked at")
    if facts.is_text_file and facts.separator is None:
        assumed.append("the file is one document; data.document_separator would cut it into several")
    elif facts.separator is not None:
        assumed.append(f"documents are separated by {facts.separator}, which the file has")
    if facts.kind == "chat" and template is None:
        assumed.append("chats are written as the model's own template says, for its name tells of chats")
    elif facts.kind == "chat":
        assumed.append(f"chats are written in a {template} way; without chat_template the model's own template decides")
    learnt = {"text": "everything", "completion": "the completion and its end", "chat": "the assistant's turns"}
    assumed.append(f"what is learnt: {learnt[facts.kind]}")
    whole = facts.is_text_file and facts.separator is None
    part = (
        "of the text, its end, is" if whole else "of the documents are" if facts.kind == "text" else "of the rows are"
    )
    return (*assumed, *sibling_assumptions(facts.siblings, f"{size:.0%} {part} split off"))


def _warnings(facts: LanguageFacts) -> tuple[str, ...]:
    if not facts.num_bad_rows:
        return ()
    return (f"rows that cannot be read: {facts.num_bad_rows}; `ftkit check` lists them",)
