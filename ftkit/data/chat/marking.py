"""Which parts of a chat's text the assistant is to learn, and how many texts it takes to learn all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftkit.data.chat.answers import THINK_OTHERWISE, AnswerFinder, AskedAnswer, rewritten
from ftkit.data.chat.dialect import OTHER_TEMPLATE, holds, squeezed, writes
from ftkit.data.chat.rendering import ChatRenderer, Span, WrittenChat
from ftkit.data.chat.rows import SYSTEM_ROLES
from ftkit.data.chat.thoughts import BEGIN, EMPTY, has_thoughts
from ftkit.data.chat.turns import Chat, Turn, is_learnt
from ftkit.data.prompting import Prompting
from ftkit.data.unusable import Unusable
from ftkit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_TWO_THOUGHTS = re.compile(rf"{EMPTY.pattern}{BEGIN}")


@dataclass(frozen=True)
class Marked:
    """A text and which parts of it are learnt: (first character, character behind the last), in order, none empty.

    With `open_end` the text ends with the last part, and with the end token behind it.
    """

    text: str
    spans: tuple[Span, ...]
    open_end: bool = True


@dataclass
class _Lesson:
    """One text in the making: the answers that can be learnt from it, by the number of their message."""

    text: str
    spans: dict[int, Span] = field(default_factory=dict)


class ChatMarker:
    """Marks chats of one template.

    Attributes:
        renderer: writes them.
        num_open_turns: chats so far in which an answer before the last ends without a special token.
        num_unrolled: chats so far that became more than one text, since the template writes earlier answers otherwise
            than they are asked for.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> None:
        self.renderer = ChatRenderer(tokenizer, prompting)
        texts = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self.special = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")
        self.finder = AnswerFinder(self.special)
        self.num_open_turns = 0
        self.num_unrolled = 0
        self._has_marks = _GENERATION.search(self.renderer.template) is not None
        self._learns_answers = prompting.completion_only_loss
        self._header, self._header_of = "", ("unknown", "")

    def mark(self, chat: Chat) -> list[Marked]:
        """A chat as texts, with what is learnt of the assistant's turns marked, each up to the token that ends it.

        One text where it can hold all answers as they are written at inference, else one for each that it cannot.

        Raises:
            Unusable: the template refuses this chat, leaves some of it out, or writes an answer otherwise than it
                stands there.
            UserError: the template asks for answers otherwise than it writes them.
        """
        written = self.renderer.written(chat)
        messages = written.chat.messages
        _refuse_missing(written)
        if self._has_marks:
            lessons = self._by_marks(written)
        else:
            # an answer to nothing is read, not learnt
            turns = [number for number, turn in enumerate(messages) if is_learnt(turn) and number > 0]
            lessons = self._by_asking(written, turns)
        found = [self._finished(lesson, messages) for lesson in lessons]
        if self._learns_answers and not any(marked.spans for marked in found):
            raise Unusable("no answer in it stands behind something that asks for one", "add the user's turn")
        self.num_unrolled += len(found) > 1
        self.num_open_turns += any(
            not self.finder.ends_special(marked.text[slice(*span)]) for marked in found for span in marked.spans[:-1]
        )
        return found

    def _finished(self, lesson: _Lesson, messages: Sequence[Turn]) -> Marked:
        if _TWO_THOUGHTS.search(lesson.text):
            raise Unusable("the chat template sets an empty thought before those that the chat has", THINK_OTHERWISE)
        spans = tuple(span for _, span in sorted(lesson.spans.items()) if span[1] > span[0])
        last = len(messages) - 1
        ends = len(spans) > 0 and (last in lesson.spans or not lesson.text[spans[-1][1] :].strip())
        return Marked(
            lesson.text, spans, open_end=ends and not self.finder.ends_special(lesson.text[slice(*spans[-1])])
        )

    def _by_asking(self, written: WrittenChat, turns: Sequence[int]) -> list[_Lesson]:
        """Find each answer behind what the model is given for it."""
        remaining = {turn: self.finder.answer(written, turn) for turn in turns[-1:]}
        whole = _Lesson(written.text())
        lessons: list[_Lesson] = []
        left = list(turns)
        while left:
            lesson = whole if not lessons else _Lesson(remaining[left[-1]].text)
            self._fill(lesson, written, left, remaining)
            if left[-1] not in lesson.spans and not lessons:
                lesson = _Lesson(remaining[left[-1]].text)
                self._fill(lesson, written, left, remaining)
            lessons.append(lesson)
            left = [turn for turn in left if turn not in lesson.spans] if self._learns_answers else []
            if left:
                remaining[left[-1]] = remaining.get(left[-1]) or self.finder.answer(written, left[-1])
        return lessons[::-1] or [whole]

    def _fill(
        self, lesson: _Lesson, written: WrittenChat, turns: Sequence[int], answers: dict[int, AskedAnswer]
    ) -> None:
        """Note the answers that stand in a text as the model would write them."""
        for turn in turns:
            message = written.chat.messages[turn]
            given = written.text(turn, generation=True)
            if answers.get(turn) is None and lesson.text.startswith(given):
                stop = self.finder.plain_stop(written, lesson.text, len(given), message)
                if stop is not None:
                    lesson.spans[turn] = (len(given), stop)
                    continue
            found = answers[turn] = answers.get(turn) or self.finder.answer(written, turn)
            words = [found.words] if has_thoughts(message) else [found.words, EMPTY.sub("", found.words, count=1)]
            start = found.start
            fits = lesson.text.startswith(found.text[:start])
            said = next((one for one in words if fits and lesson.text.startswith(one, start)), None)
            if said is not None:
                lesson.spans[turn] = (start, start + len(said))
            elif not self._learns_answers and not holds(lesson.text, message):
                raise rewritten(written.chat, turn)

    def _by_marks(self, written: WrittenChat) -> list[_Lesson]:
        messages = written.chat.messages
        turns = [number for number, turn in enumerate(messages) if turn["role"] == "assistant"]
        text, found = written.marked(len(messages))
        if len(found) != len(turns):
            if not all(is_learnt(messages[turn]) for turn in turns):
                problem = f"the chat template marks {len(found)} pieces for {len(turns)} turns of the assistant"
                raise Unusable(f"{problem}, so those that are not to be learnt cannot be told", OTHER_TEMPLATE)
            self._learn_header(written, text, turns, found)
            return [_Lesson(text, {span[0]: self._trimmed(text, *span) for span in found})]
        self._learn_header(written, text, turns, found)
        lessons = [_Lesson(text)]
        for turn, span in zip(turns, found, strict=True):
            if not is_learnt(messages[turn]):
                continue
            lesson, place = lessons[0], span
            if not holds(text[slice(*span)], messages[turn]):
                alone, marks = written.marked(turn + 1)
                if not self._learns_answers or not marks or not holds(alone[slice(*marks[-1])], messages[turn]):
                    raise rewritten(written.chat, turn)
                lesson, place = _Lesson(alone), marks[-1]
                lessons.append(lesson)
            lesson.spans[turn] = self._trimmed(lesson.text, *place)
        return [*lessons[1:], lessons[0]] if lessons[0].spans or len(lessons) == 1 else lessons[1:]

    def _trimmed(self, text: str, start: int, stop: int) -> Span:
        """A marked piece without the header that every answer is asked by, and up to the token that ends it."""
        if self._header and text.startswith(self._header, start, stop):
            start += len(self._header)
        ended = start + len(text[start:stop].rstrip())
        return start, ended if self.finder.ends_special(text[start:ended]) else stop

    def _learn_header(self, written: WrittenChat, text: str, turns: Sequence[int], spans: Sequence[Span]) -> None:
        """What is sent to get an answer must be what stood before answers in training.

        It is looked at wherever the system says something new: some templates think, or do not, by its words.
        """
        chat = written.chat
        system = chat.messages[0]["role"] in SYSTEM_ROLES
        said = (str(chat.kwargs), chat.messages[0]["content"] if system else "")
        if said == self._header_of or turns[0] == 0 or not spans:
            return
        given = written.text(turns[0], generation=True)
        start, stop = spans[0]
        if not text.startswith(given) or not start <= len(given) < stop:
            raise UserError(
                f"the chat template asks for an answer by {given[-40:]!r}, but writes {text[:start][-40:]!r} "
                "before one, so the model would be asked otherwise than it was taught",
                fix="let what add_generation_prompt adds be what the template writes before {% generation %}",
            )
        self._header, self._header_of = text[start : len(given)], said


def _refuse_missing(written: WrittenChat) -> None:
    text = squeezed(written.text())
    for index, message in enumerate(written.chat.messages):
        content = message["content"]
        if message["role"] == "assistant" or writes(text, content):
            continue
        if message["role"] == "tool" and writes(text, re.sub(r"</?tool_response>", "", content)):
            continue
        problem = f"the chat template leaves out or rewrites {written.chat.name(index)}, of the role {message['role']}"
        raise Unusable(problem, f"write it into the user's turn, or {OTHER_TEMPLATE}")


def end_of_turn(tokenizer: PreTrainedTokenizerBase, prompting: Prompting) -> int | None:
    """The token that a model trained on chats writes at the end of its turn; None when that is no special token.

    It is not always the tokenizer's end token, and generation has to stop at both.

    Raises:
        UserError: there is no chat template, or it refuses a question with its answer.
    """
    marker = ChatMarker(tokenizer, prompting)
    try:
        marked = marker.mark(Chat([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]))[-1]
    except Unusable as error:
        raise UserError(error.reason, fix=error.fix) from error
    if not marked.spans:
        return None
    start, stop = marked.spans[-1]
    mark = marker.finder.ends_special(marked.text[start:stop])
    ids: list[int] = tokenizer(mark, add_special_tokens=False)["input_ids"]
    return ids[0] if mark else None
