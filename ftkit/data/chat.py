"""Chats to texts by their chat template, and which parts of those the assistant is to learn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.chat_rows import CHATML_MARKS
from ftkit.data.prompting import Prompting
from ftkit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = list[dict[str, str]]

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_OTHER = "name another in data.chat_template: plain, chatml, or a .jinja file with {% generation %} marks"


class ChatRenderer:
    """Renders chats with one template, the recipe's or the tokenizer's, as `ftkit generate` and every server will.

    Attributes:
        num_open_turns: chats rendered so far in which an answer before the last ends without a special token.

    Raises:
        UserError: there is no template, or its marks are no tokens of this vocabulary.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> None:
        self.tokenizer: Any = tokenizer
        self.template = _template(tokenizer, prompting)
        self.has_marks = _GENERATION.search(self.template) is not None
        texts = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self.special = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")
        self.num_open_turns = 0
        self._asks_as_it_writes = not self.has_marks

    def render(self, messages: Messages) -> Marked:
        """A chat as text, with the assistant's turns marked, each up to the token that ends it.

        Raises:
            UserError: the template refuses this chat, or does not let itself be followed turn by turn.
        """
        text, found = self._by_marks(messages) if self.has_marks else self._by_prefixes(messages)
        spans = tuple((start, stop) for start, stop in found if stop > start)
        self.num_open_turns += any(not self.ends_special(text[slice(*span)]) for span in spans[:-1])
        answers = messages[-1]["role"] == "assistant" and len(spans) > 0
        return Marked(text, spans, open_end=answers and not self.ends_special(text[slice(*spans[-1])]))

    def ends_special(self, text: str) -> str:
        """The special token at the end of a text, empty when there is none."""
        return next((match[0] for match in self.special.finditer(text) if match.end() == len(text)), "")

    def _by_marks(self, messages: Messages) -> tuple[str, list[tuple[int, int]]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            rendered: Any = render_jinja_template(
                [messages],
                chat_template=self.template,
                return_assistant_tokens_mask=True,
                **self.tokenizer.special_tokens_map,
            )
        # a template may raise anything, its own refusals included
        except Exception as error:
            raise _refused(error) from error
        texts, spans = rendered
        found = [(int(start), int(stop)) for start, stop in spans[0]]
        if not self._asks_as_it_writes:
            self._refuse_other_question(messages, texts[0], found)
        return texts[0], found

    def _refuse_other_question(self, messages: Messages, whole: str, spans: list[tuple[int, int]]) -> None:
        """What is sent to get an answer must be what stood before answers in training; looked at in the first chat."""
        turn = next((index for index, message in enumerate(messages) if message["role"] == "assistant"), 0)
        if turn == 0 or not spans:
            return
        given = self.text(messages[:turn], generation=True)
        if not whole.startswith(given) or len(given) < spans[0][0]:
            raise UserError(
                f"the chat template asks for an answer by {given[-40:]!r}, but writes {whole[: spans[0][0]][-40:]!r} "
                "before one, so the model would be asked otherwise than it was taught",
                fix="let what add_generation_prompt adds be what the template writes before {% generation %}",
            )
        self._asks_as_it_writes = True

    def _by_prefixes(self, messages: Messages) -> tuple[str, list[tuple[int, int]]]:
        """Find each answer between what the model is given for it and the next message."""
        whole = self.text(messages)
        spans = []
        for index, message in enumerate(messages):
            # an answer to nothing is read, not learnt
            if message["role"] != "assistant" or index == 0:
                continue
            given = self.text(messages[:index], generation=True)
            if not whole.startswith(given):
                raise _not_followed()
            after = self.text(messages[: index + 1])
            bound = len(after) if whole.startswith(after) else len(whole)
            content = message["content"].strip()
            found = whole.find(content, len(given), bound)
            if found < 0:
                raise _not_followed()
            stop = found + len(content)
            end = self.special.search(whole, stop, bound)
            # what a template sets between the two (an empty thought) is written by the model too
            spans.append((len(given), end.end() if end else stop))
        return whole, spans

    def text(self, messages: Messages, *, generation: bool = False) -> str:
        """A chat as text; with `generation` up to where the assistant begins to write.

        Raises:
            UserError: the template refuses this chat.
        """
        try:
            rendered: str = self.tokenizer.apply_chat_template(
                messages, chat_template=self.template, tokenize=False, add_generation_prompt=generation
            )
        # a template may raise anything, its own refusals included
        except Exception as error:
            raise _refused(error) from error
        return rendered


def _template(tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> str:
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


def _is_token(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1


def _refused(error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:300]
    return UserError(f"the chat template refuses this chat: {reason or type(error).__name__}", fix=_OTHER)


def _not_followed() -> UserError:
    return UserError(
        "the chat template has no {% generation %} marks, and what it writes before an answer changes with the answer,"
        " so it cannot be told what the model writes itself",
        fix=_OTHER,
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> int | None:
    """The token that a model trained on chats writes at the end of its turn; None when that is no special token.

    It is not always the tokenizer's end token, and generation has to stop at both.
    """
    renderer = ChatRenderer(tokenizer, prompting)
    marked = renderer.render([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    if not marked.spans:
        return None
    start, stop = marked.spans[-1]
    mark = renderer.ends_special(marked.text[start:stop])
    ids: list[int] = tokenizer(mark, add_special_tokens=False)["input_ids"]
    return ids[0] if mark else None


@dataclass(frozen=True)
class Marked:
    """A text and which parts of it are learnt: (first character, character behind the last), in order, none empty.

    With `open_end` the text ends with the last part, and with the end token behind it.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    open_end: bool = True
