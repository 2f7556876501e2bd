"""Chats to texts by their chat template, and which parts of those the assistant is to learn."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.data.chat.rows import LEARNT_KEY, THOUGHTS, is_learnt
from ftkit.data.prompting import Prompting, chat_template_of
from ftkit.data.sandbox import limited
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = list[dict[str, Any]]
Span = tuple[int, int]

_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_READS_THOUGHTS = re.compile(r"(\.|['\"])(reasoning_content|thinking)\b")
_OTHER = "name another in data.chat_template: plain, chatml, or a .jinja file with {% generation %} marks"
_OTHER_WORDS = "\ue000\ue001"
"""An answer that no data have: where the text of a chat changes with it, the answer stands."""


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
        num_open_turns: chats rendered so far in which an answer before the last ends without a special token.
        num_unasked: chats rendered so far in which an answer before the last is read and not learnt, since the
            template writes it behind other words than it asks for one by.

    Raises:
        UserError: there is no template, or its marks are no tokens of this vocabulary.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> None:
        self.tokenizer: Any = tokenizer
        self.template = chat_template_of(tokenizer, prompting)
        self.has_marks = _GENERATION.search(self.template) is not None
        texts = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self.special = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")
        self.num_open_turns = 0
        self.num_unasked = 0
        self._completions = prompting.completion_only_loss
        self._moment = prompting.moment
        self._asks_as_it_writes = not self.has_marks
        self._header = ""

    def render(self, messages: Messages) -> Marked:
        """A chat as text, with what is to be learnt of the assistant's turns marked, each up to the token that ends it.

        Raises:
            Unusable: the template refuses this chat, leaves some of it out, or writes an answer otherwise than it
                stands there.
            UserError: the template asks for answers otherwise than it writes them.
        """
        self._refuse_unread(messages)
        text, answers = self._by_marks(messages) if self.has_marks else self._by_prefixes(messages)
        _refuse_missing(messages, text)
        spans = tuple((start, stop) for start, stop in answers if stop > start)
        if not spans and self._completions:
            raise Unusable("no answer in it stands behind something that asks for one", "add the user's turn")
        self.num_open_turns += any(not self.ends_special(text[slice(*span)]) for span in spans[:-1])
        ends = messages[-1]["role"] == "assistant" and len(spans) > 0 and is_learnt(messages[-1])
        return Marked(text, spans, open_end=ends and not self.ends_special(text[slice(*spans[-1])]))

    def ends_special(self, text: str) -> str:
        """The special token at the end of a text, empty when there is none."""
        return next((match[0] for match in self.special.finditer(text) if match.end() == len(text)), "")

    def _by_marks(self, messages: Messages) -> tuple[str, list[Span]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            with limited(len(str(messages)) + len(self.template)), _clock_at(self._moment, self.template):
                rendered: Any = render_jinja_template(
                    [_bare(messages)],
                    chat_template=self.template,
                    return_assistant_tokens_mask=True,
                    **self.tokenizer.special_tokens_map,
                )
        # a template may raise anything, its own refusals included
        except Exception as error:
            raise _refused(error) from error
        texts, spans = rendered
        whole: str = texts[0]
        found = [(int(start), int(stop)) for start, stop in spans[0]]
        if not self._asks_as_it_writes:
            self._learn_header(messages, whole, found)
        turns = [message for message in messages if message["role"] == "assistant"]
        if len(found) != len(turns):
            if not all(map(is_learnt, turns)):
                problem = f"the chat template marks {len(found)} pieces for {len(turns)} turns of the assistant"
                raise Unusable(f"{problem}, so those that are not to be learnt cannot be told", _OTHER)
            return whole, [self._trimmed(whole, *span) for span in found]
        learnt = [(turn, span) for turn, span in zip(turns, found, strict=True) if is_learnt(turn)]
        for turn, span in learnt:
            if not _holds(whole[slice(*span)], turn):
                raise _rewritten(messages, turn)
        return whole, [self._trimmed(whole, *span) for _, span in learnt]

    def _trimmed(self, whole: str, start: int, stop: int) -> Span:
        """A marked piece without the header that every answer is asked by, and up to the token that ends it."""
        if self._header and whole.startswith(self._header, start, stop):
            start += len(self._header)
        text = whole[start:stop]
        ended = len(text.rstrip())
        return start, start + ended if self.ends_special(text[:ended]) else stop

    def _learn_header(self, messages: Messages, whole: str, spans: Sequence[Span]) -> None:
        """What is sent to get an answer must be what stood before answers in training; looked at in the first chat."""
        turn = next((index for index, message in enumerate(messages) if message["role"] == "assistant"), 0)
        if turn == 0 or not spans:
            return
        given = self.text(messages[:turn], generation=True)
        start, stop = spans[0]
        if not whole.startswith(given) or not start <= len(given) < stop:
            raise UserError(
                f"the chat template asks for an answer by {given[-40:]!r}, but writes {whole[:start][-40:]!r} "
                "before one, so the model would be asked otherwise than it was taught",
                fix="let what add_generation_prompt adds be what the template writes before {% generation %}",
            )
        self._header = whole[start : len(given)]
        self._asks_as_it_writes = True

    def _by_prefixes(self, messages: Messages) -> tuple[str, list[Span]]:
        """Find each answer behind what the model is given for it."""
        whole = self.text(messages)
        # an answer to nothing is read, not learnt
        turns = [number for number, turn in enumerate(messages) if is_learnt(turn) and number > 0]
        if not turns:
            return whole, []
        closed = self._closed(messages[: turns[-1] + 1])
        answers = []
        for index in turns:
            given = self.text(messages[:index], generation=True)
            if not whole.startswith(given):
                continue
            stop = self._stop(messages, index, whole, len(given))
            end = self.special.search(closed, 0, _num_common(closed, whole[stop:]))
            # what a template sets between the two (an empty thought) is written by the model too
            answers.append((len(given), stop + end.end() if end else len(whole[:stop].rstrip())))
        self.num_unasked += len(answers) < len(turns)
        return whole, answers

    def _closed(self, messages: Messages) -> str:
        """What a template writes behind the last answer of a chat: the end of every answer begins so."""
        text = self.text(messages)
        given = self.text(messages[:-1], generation=True)
        if not text.startswith(given):
            raise Unusable(
                "what the chat template writes before the last answer is not what it asks for one by, and it has no"
                " {% generation %} marks, so it cannot be told what the model writes itself",
                _OTHER,
            )
        return text[self._stop(messages, len(messages) - 1, text, len(given)) :]

    def _stop(self, messages: Messages, index: int, whole: str, begin: int) -> int:
        """Where the answer of a message ends that begins there, or behind what a template sets before every answer.

        Raises:
            Unusable: what stands there is not the answer, but for white space.
        """
        turn = messages[index]
        content = turn["content"]
        answer, behind = content.strip(), content[len(content.rstrip()) :]
        first = begin + len(whole[begin:]) - len(whole[begin:].lstrip())
        if whole.startswith(answer, first) and THOUGHTS not in turn:
            stop = first + len(answer)
            return stop + len(behind) if whole.startswith(behind, stop) else stop
        other = self.text([*messages[:index], turn | {"content": _OTHER_WORDS}, *messages[index + 1 :]])
        stop = len(whole) - _num_common(whole[::-1], other[::-1])
        written = whole[begin:stop]
        if not _holds(written, turn) or not _squeezed(written).endswith(_squeezed(content)):
            raise _rewritten(messages, turn)
        return stop

    def _refuse_unread(self, messages: Messages) -> None:
        for number, message in enumerate(messages, 1):
            if THOUGHTS in message and not _READS_THOUGHTS.search(self.template):
                fix = f"write them into the content, as the models of this template do, or {_OTHER}"
                raise Unusable(
                    f"message {number} has thoughts ({THOUGHTS}), which the chat template does not write", fix
                )

    def text(self, messages: Messages, *, generation: bool = False) -> str:
        """A chat as text; with `generation` up to where the assistant begins to write.

        Raises:
            Unusable: the template refuses this chat.
        """
        try:
            with limited(len(str(messages)) + len(self.template)), _clock_at(self._moment, self.template):
                rendered: str = self.tokenizer.apply_chat_template(
                    _bare(messages), chat_template=self.template, tokenize=False, add_generation_prompt=generation
                )
        # a template may raise anything, its own refusals included
        except Exception as error:
            raise _refused(error) from error
        return rendered


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


def _bare(messages: Messages) -> Messages:
    """Messages as templates know them."""
    return [{key: value for key, value in message.items() if key != LEARNT_KEY} for message in messages]


def _num_common(first: str, second: str) -> int:
    """Characters with which both begin."""
    differing = (place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(differing, min(len(first), len(second)))


def _squeezed(text: str) -> str:
    """Without white space, of which templates make their own."""
    return "".join(text.split())


def _holds(text: str, turn: dict[str, Any]) -> bool:
    """Whether a piece of text has the content and the thoughts of a turn, but for white space."""
    written = _squeezed(text)
    return all(_squeezed(part) in written for part in (turn["content"], turn.get(THOUGHTS, "")))


def _refuse_missing(messages: Messages, text: str) -> None:
    written = _squeezed(text)
    for number, message in enumerate(messages, 1):
        if message["role"] != "assistant" and _squeezed(message["content"]) not in written:
            problem = f"the chat template leaves out or rewrites message {number}, of the role {message['role']}"
            raise Unusable(problem, f"write it into the user's turn, or {_OTHER}")


def _refused(error: Exception) -> Unusable:
    reason = " ".join(str(error).split())[:300]
    return Unusable(f"the chat template refuses this chat: {reason or type(error).__name__}", _OTHER)


def _rewritten(messages: Messages, turn: dict[str, Any]) -> Unusable:
    number = next(number for number, message in enumerate(messages, 1) if message is turn)
    return Unusable(
        f"the chat template writes the answer of message {number} otherwise than it stands there (some take thoughts"
        " out of earlier answers)",
        f"remove what it takes out, or {_OTHER}",
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> int | None:
    """The token that a model trained on chats writes at the end of its turn; None when that is no special token.

    It is not always the tokenizer's end token, and generation has to stop at both.

    Raises:
        UserError: there is no chat template, or it refuses a question with its answer.
    """
    renderer = ChatRenderer(tokenizer, prompting)
    try:
        marked = renderer.render([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    except Unusable as error:
        raise UserError(error.reason, fix=error.fix) from error
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
    spans: tuple[Span, ...]
    open_end: bool = True
