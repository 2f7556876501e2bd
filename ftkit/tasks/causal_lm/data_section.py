"""The `data` section of a recipe of task causal_lm: its keys, those of one of several sources among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftkit.recipe.generative import GenerativeData, KeptThoughts, Learn
from ftkit.recipe.sources.section import SourceSpec

CHAT_KEYS = (
    *("chat_template", "chat_template_kwargs", "learn", "thoughts"),
    *("system", "system_column", "history_column"),
)
"""Keys that are for chats alone."""
FORMS_NAMED = ("text_column", "prompt_column", "messages_column", "template")
"""Keys of which each says on its own what an example is."""


class CausalSource(SourceSpec):
    """One of several sources of texts, completions or chats."""

    forms: ClassVar = (*FORMS_NAMED, "completion_column")
    of_some: ClassVar = (*SourceSpec.of_some, *CHAT_KEYS, "completion_only_loss", "document_separator")

    prompt_column: str | None = None
    completion_column: str | None = None
    messages_column: str | None = None
    template: str | None = Field(default=None, min_length=1)
    history_column: str | None = None
    system_column: str | None = None
    system: str | None = Field(default=None, min_length=1)
    learn: Learn | None = None
    thoughts: KeptThoughts | None = None
    completion_only_loss: bool | None = None
    document_separator: str | None = Field(default=None, min_length=1)


CausalFiles = str | Annotated[Sequence[str | CausalSource], Field(min_length=1)] | None
"""A file, or several sources."""


class CausalData(GenerativeData):
    """Where the examples come from, and which columns hold what."""

    follows: ClassVar = {"prompt_column": "text_column", "chat_template": "template"}
    source_class: ClassVar[type[SourceSpec]] = CausalSource

    train_file: CausalFiles = None
    validation_file: CausalFiles = None
    test_file: CausalFiles = None

    prompt_column: str | None = None
    """Column of what the model is given; with completion_column it is short for a template."""

    completion_column: str | None = None
    """Column of what the model is to answer."""

    messages_column: str | None = None
    """Column of chats: lists of {role, content}; the assistant's turns are learnt."""

    chat_template: str | None = Field(default=None, min_length=1)
    """How chats become text: `plain` (words only, for bases that were never taught to chat), `chatml`,
    or a .jinja file. Default: the tokenizer's own."""

    chat_template_kwargs: dict[str, Any] | None = None
    """What the chat template is told beside the messages, such as {enable_thinking: false}; a column of that name tells
    it of each chat. `ftkit generate` tells it the same."""

    history_column: str | None = None
    """Column of the turns before a prompt, [[asked, answered], ...]: prompts and completions become chats."""

    system_column: str | None = None
    """Column of the system's turn. Default: `system` or `system_prompt` beside messages."""

    system: str | None = Field(default=None, min_length=1)
    """The system's turn of chats that have none; `ftkit generate` sends it too."""

    learn: Learn | None = None
    """Turns of a chat that are learnt: all_answers, last_answer (all that the assistant writes after the user's last
    turn), marked (those with weight: 1, train: true, ...), everything (the other roles' too). Default: all answers but
    those that the file marks (weight: 0, train: false, loss: false, mask: true)."""

    thoughts: KeptThoughts = "all"
    """Thoughts that are kept and learnt: of all answers, of those after the user's last turn, or of none."""

    completion_only_loss: bool = True
    """Learn completions and assistants' turns only, not what they answer."""

    packing: bool | Literal["auto"] = "auto"
    """Lay documents end to end instead of padding them; attention never crosses from one into the
    next. `auto`: wherever that is shown to leave the model's outputs as they are."""

    document_separator: str | None = Field(default=None, min_length=1)
    """What stands between the documents of a text file, such as "\\n\\n" or "<|endoftext|>". Default:
    a text file is one document."""

    def column_of_prompts(self) -> str | None:
        """Column of a file of prompts that is read where it is there: that of the chats, or of the texts."""
        return self.messages_column or self.text_column

    def separator(self) -> str | None:
        """What stands between the documents of a text file."""
        return self.document_separator

    def makes_chats(self) -> bool:
        """Whether a prompt and its completion are the last turns of a chat."""
        return any(value is not None for value in (self.history_column, self.system_column, self.system))
