"""Chats to texts by their chat template."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.data.chat.dialect import OTHER_TEMPLATE, OWN_TEMPLATE, STYLES, Dialect, Style, joined, squeezed, writes_calls
from ftkit.data.chat.turns import CALLS, Chat, functions_of
from ftkit.data.prompting import Prompting, chat_template_of, reads, refuse_unread
from ftkit.data.sandbox import limited
from ftkit.data.unusable import Unusable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]


class ChatBase(NamedTuple):
    """What chats are written with.

    Attributes:
        tokenizer: loads the base's.
        moment: when the run began, for templates that write the date; None: now.
    """

    tokenizer: Callable[[], PreTrainedTokenizerBase]
    moment: str | None = None


class ChatRenderer:
    """Renders chats with one template, the recipe's or the tokenizer's, as `ftkit generate` and every server will.

    Attributes:
        num_joined: chats so far in which turns of one role that follow one another were made one, since the template
            refuses them.

    Raises:
        UserError: there is no template, its marks are no tokens of this vocabulary, or it does not read what it is to
            be told.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> None:
        self.template = chat_template_of(tokenizer, prompting)
        self.num_joined = 0
        refuse_unread(prompting.chat_template_kwargs, self.template)
        self._dialect = Dialect(self.template)
        self._told = {**tokenizer.special_tokens_map, **prompting.chat_template_kwargs}
        self._moment = prompting.moment
        self._writes_tools = False

    def written(self, chat: Chat) -> WrittenChat:
        """A chat in the form in which the template takes it.

        Raises:
            Unusable: it takes it in none, or leaves calls or tools out.
        """
        if unread := [name for name in chat.kwargs if not reads(self.template, name)]:
            fix = "remove it from the row, or mend its name"
            raise Unusable(f"the chat template does not read {unread[0]} (chat_template_kwargs)", fix)
        try:
            return self._styled(chat)
        except Unusable:
            fewer = joined(chat)
            if len(fewer.messages) == len(chat.messages):
                raise
            found = self._styled(fewer)
            self.num_joined += 1
            return found

    def _styled(self, chat: Chat) -> WrittenChat:
        calling = [index for index, message in enumerate(chat.messages) if CALLS in message]
        failures = []
        for style in STYLES if calling else STYLES[:1]:
            found = WrittenChat(self, chat, style)
            try:
                text = squeezed(found.text())
            except Unusable as error:
                failures.append(error)
                continue
            missing = next((index for index in calling if not writes_calls(text, chat.messages[index])), None)
            if missing is None:
                self._refuse_unwritten_tools(found)
                return found
            names = ", ".join(function["name"] for function in functions_of(chat.messages[missing]))
            called = f"the call of {chat.name(missing)} ({names})"
            problem = f"the chat template does not write {called} as it stands there"
            failures.append(Unusable(problem, f"use a model that was taught to call tools, or {OWN_TEMPLATE}"))
        raise failures[0]

    def _refuse_unwritten_tools(self, written: WrittenChat) -> None:
        if not written.chat.tools or self._writes_tools:
            return
        self._writes_tools = written.text() != replace(written, chat=replace(written.chat, tools=[]), texts={}).text()
        if not self._writes_tools:
            fix = f"write them into the system's turn, remove the column, or {OWN_TEMPLATE}"
            raise Unusable("the chat template has no place for tools: it writes the same without them", fix)

    def render(self, chat: Chat, style: Style, count: int, *, generation: bool, marks: bool) -> tuple[str, list[Span]]:
        """The first messages of a chat as text, and what `{% generation %}` marks in it, if that is asked for.

        Raises:
            Unusable: the template refuses them.
        """
        from transformers.utils.chat_template_utils import render_jinja_template

        messages = self._dialect.shaped(chat, count, style)
        try:
            with limited(len(str(messages)) + len(self.template)), _clock_at(self._moment, self.template):
                rendered: Any = render_jinja_template(
                    [messages],
                    tools=[*chat.tools] or None,
                    chat_template=self.template,
                    add_generation_prompt=generation,
                    return_assistant_tokens_mask=marks,
                    **{**self._told, **chat.kwargs},
                )
        # a template may raise anything, its own refusals included
        except Exception as error:
            raise _refused(error) from error
        texts, spans = rendered
        return texts[0], [(int(start), int(stop)) for start, stop in spans[0]] if marks else []


@dataclass
class WrittenChat:
    """A chat, in a style that its template takes: any number of its messages as text."""

    renderer: ChatRenderer
    chat: Chat
    style: Style
    texts: dict[tuple[int, bool], str] = field(default_factory=dict)

    def text(self, count: int | None = None, *, generation: bool = False) -> str:
        """The first messages, all of them by default; with `generation` up to where the assistant begins to write.

        Raises:
            Unusable: the template refuses them.
        """
        key = (len(self.chat.messages) if count is None else count, generation)
        if key not in self.texts:
            render = self.renderer.render
            self.texts[key] = render(self.chat, self.style, key[0], generation=generation, marks=False)[0]
        return self.texts[key]

    def marked(self, count: int) -> tuple[str, list[Span]]:
        """The same with what the template marks."""
        return self.renderer.render(self.chat, self.style, count, generation=False, marks=True)

    def answering(self, index: int, words: str) -> str:
        """The messages up to an answer, with other words in its place."""
        messages = [*self.chat.messages[:index], {"role": "assistant", "content": words}]
        chat = replace(self.chat, messages=messages)
        return self.renderer.render(chat, self.style, index + 1, generation=False, marks=False)[0]


@contextlib.contextmanager
def _clock_at(moment: str | None, template: str) -> Iterator[None]:
    """While it lasts, the date that a template writes is that of a moment."""
    if moment is None:
        yield
        return
    # whatever a template is handed becomes plain data, so that its clock can be set in its globals only
    from transformers.utils.chat_template_utils import _compile_jinja_template

    told: Any = _compile_jinja_template(template).globals
    told["strftime_now"] = datetime.fromisoformat(moment).strftime
    try:
        yield
    finally:
        del told["strftime_now"]


def _refused(error: Exception) -> Unusable:
    reason = " ".join(str(error).split())[:300]
    return Unusable(f"the chat template refuses this chat: {reason or type(error).__name__}", OTHER_TEMPLATE)
