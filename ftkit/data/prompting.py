"""How an example becomes text: the one template, for training and for every later prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ftkit.data.chat.templates import CHATML_MARKS
from ftkit.data.reading.nested import get
from ftkit.errors import UserError
from ftkit.recipe.generative import LEARN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMS = ("text", "completion", "chat")
_PIECES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_BRACES = "a brace that stands for itself is written twice: {{ or }}"


@dataclass(frozen=True)
class Prompting:
    """How the columns of a row become what a language model reads and writes.

    Attributes:
        kind: text (everything is learnt), completion (what follows the prompt is), chat (the assistant's turns are).
        template: of completions, and of texts made of several columns: `{column}` stands for a column, `<learn>` for
            the place where the prompt ends.
        chat_template: of chats, as Jinja text; None: the tokenizer's own.
        chat_template_kwargs: what the chat template is told beside the messages, such as enable_thinking.
        system: turn of the system, of chats that have none.
        completion_only_loss: whether the prompt is left out of the loss.
        source_language_column: of the language of each source, where rows name it; else None.
        target_language_column: the same of each target.
        moment: of ISO 8601, what a chat template that writes the date is told; None for one that does not.

    Example:
        >>> prompting = Prompting("completion", "Q: {question}\\nA:<learn> {answer}")
        >>> prompting.prompt_fields
        ('question',)
        >>> prompting.render_prompt({"question": "2 + 2?"})
        'Q: 2 + 2?\\nA:'
    """

    kind: Literal["text", "completion", "chat"]
    template: str | None = None
    chat_template: str | None = None
    completion_only_loss: bool = True
    source_language_column: str | None = None
    target_language_column: str | None = None
    moment: str | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    system: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it, columns of languages and what a template is told only where there are any."""
        rare = ("source_language_column", "target_language_column", "chat_template_kwargs", "system")
        return {name: value for name, value in asdict(self).items() if value or name not in rare}

    @property
    def language_columns(self) -> dict[str, str]:
        """Columns of languages, by what a table calls them."""
        named = {"source_language": self.source_language_column, "target_language": self.target_language_column}
        return {name: column for name, column in named.items() if column is not None}

    @cached_property
    def parsed(self) -> Template:
        """The template in its two parts; a text without one is a single column `text`."""
        return parse_template("{text}" if self.template is None else self.template)

    @property
    def prompt_fields(self) -> tuple[str, ...]:
        """Columns that the prompt is made of; none for texts and chats."""
        return fields_of(self.parsed.prompt) if self.kind == "completion" else ()

    def render_prompt(self, fields: Mapping[str, str]) -> str:
        """The text that stood before the learnt part in training; empty for texts, where nothing did.

        Raises:
            UserError: a field is missing.
            ValueError: a chat, whose prompt is rendered by its chat template.
        """
        if self.kind == "chat":
            raise ValueError("the prompt of a chat is rendered by its chat template")
        if missing := [name for name in self.prompt_fields if name not in fields]:
            raise UserError(
                f"the prompt needs {', '.join(missing)}", fix=f"the model was trained with {self.template!r}"
            )
        return fill(self.parsed.prompt, fields)


class Piece(NamedTuple):
    """A part of a template: text as it stands, or the name of a column."""

    text: str
    is_field: bool


class Template(NamedTuple):
    """A template cut at its mark: what the model is given (nothing, without a mark), and what it learns to write."""

    prompt: tuple[Piece, ...]
    completion: tuple[Piece, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Every column, in the order of first occurrence."""
        return fields_of((*self.prompt, *self.completion))


def parse_template(text: str) -> Template:
    """Read a template such as `Question: {question}\\nAnswer:<learn> {answer}`.

    Literal text; `{name}` for a column, with nothing but its name between the braces; `{{` and `}}` for braces;
    `<learn>` at most once, before what is learnt.

    Raises:
        UserError: a brace by itself, no column, two marks, or nothing before or after the mark.
    """
    parts = text.split(LEARN)
    if len(parts) > 2:
        raise _refusal(f"{LEARN} stands there {len(parts) - 1} times", "what is learnt is one piece, up to the end")
    prompt, completion = ((), _pieces(text)) if len(parts) == 1 else (_pieces(parts[0]), _pieces(parts[1]))
    if len(parts) == 2 and not prompt:
        raise _refusal(f"nothing stands before {LEARN}", "leave the mark out: then everything is learnt")
    if len(parts) == 2 and not parts[1].strip():
        raise _refusal(f"nothing follows {LEARN}", "put the mark before what the model is to write")
    if not fields_of(completion):
        after = f"after {LEARN} " if prompt else ""
        raise _refusal(
            f"{after}no column is named, so every example would teach the same", "name columns in braces: {question}"
        )
    return Template(prompt, completion)


def _refusal(problem: str, fix: str) -> UserError:
    return UserError(f"data.template: {problem}", fix=fix)


def _pieces(text: str) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for match in _PIECES.finditer(text):
        found = match[0]
        if found in ("{", "}"):
            raise _refusal(f"a single {found} in {text[max(0, match.start() - 20) :][:40]!r}", _BRACES)
        if match[1] is not None:
            if not match[1].strip():
                raise _refusal(f"{found} names no column", f"write its name between the braces; {_BRACES}")
            pieces.append(Piece(match[1], True))
            continue
        literal = {"{{": "{", "}}": "}"}.get(found, found)
        if pieces and not pieces[-1].is_field:
            literal = pieces.pop().text + literal
        pieces.append(Piece(literal, False))
    return tuple(pieces)


def fields_of(pieces: Sequence[Piece]) -> tuple[str, ...]:
    """The columns among pieces, each once."""
    return tuple(dict.fromkeys(piece.text for piece in pieces if piece.is_field))


def fill(pieces: Sequence[Piece], fields: Mapping[str, str]) -> str:
    """Put the columns' texts in their places; what looks like a mark or a brace inside them stays text."""
    return "".join(fields[piece.text] if piece.is_field else piece.text for piece in pieces)


def short_template(prompt_column: str, completion_column: str, rows: Sequence[Mapping[str, object]]) -> str:
    """What prompt_column and completion_column are short for: the two, and a line break where nothing else parts them.

    Where the prompts mostly end in white space, or the completions mostly begin with it, they are parted already.
    That is decided once, by the first rows of the training set, so that later prompts are made in the same way.

    Example:
        >>> short_template("q", "a", [{"q": "2 + 2?", "a": "4"}])
        '{q}\\n<learn>{a}'
    """
    prompts, completions = (
        [text for row in rows if isinstance(text := get(row, name), str)] for name in (prompt_column, completion_column)
    )
    ending = sum(text[-1:].isspace() for text in prompts)
    beginning = sum(text[:1].isspace() for text in completions)
    parted = 2 * ending > len(prompts) or 2 * beginning > len(completions)
    between = "" if parted else "\n"
    return f"{{{prompt_column}}}{between}{LEARN}{{{completion_column}}}"


def chat_template_of(tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> str:
    """The template of chats, as Jinja text: the recipe's, else the tokenizer's own.

    Raises:
        UserError: there is none, or it writes marks that are no tokens of this vocabulary.
    """
    if prompting.chat_template is None:
        if tokenizer.chat_template is None:
            raise UserError(
                "the tokenizer has no chat template: its model was never taught to chat",
                fix="set data.chat_template: plain (words only), or name a .jinja file",
            )
        return tokenizer.get_chat_template()
    absent = [mark for mark in CHATML_MARKS if mark in prompting.chat_template and not _is_token(tokenizer, mark)]
    if absent:
        raise UserError(
            f"the chat template writes {' and '.join(absent)}, which this vocabulary does not have as single tokens",
            fix="set data.chat_template: plain, which needs no tokens of its own",
        )
    return prompting.chat_template


def reads(template: str, name: str) -> bool:
    """Whether a chat template asks for something by a name."""
    return re.search(rf"\b{re.escape(name)}\b", template) is not None


def refuse_unread(kwargs: Mapping[str, object], template: str) -> None:
    """Refuse to tell a chat template what it does not ask for.

    Raises:
        UserError: names what it does not read.
    """
    if unread := [name for name in kwargs if not reads(template, name)]:
        problem = f"the chat template does not read {unread[0]} (data.chat_template_kwargs)"
        raise UserError(problem, fix="remove it, or mend its name")


def at_moment(prompting: Prompting, tokenizer: PreTrainedTokenizerBase, moment: str | None) -> Prompting:
    """The same prompting with the moment that a template which writes the date is told, in every later rendering.

    Args:
        moment: of ISO 8601; None: now.
    """
    if "strftime_now" not in chat_template_of(tokenizer, prompting):
        return prompting
    return replace(prompting, moment=moment or datetime.now().isoformat(timespec="seconds"))


def _is_token(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1
