"""Where an answer begins and ends in the text of a chat that its template does not mark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ftkit.data.chat.dialect import OTHER_TEMPLATE, holds
from ftkit.data.chat.rendering import WrittenChat
from ftkit.data.chat.thoughts import BEGIN, EMPTY, END, has_thoughts, thoughts_of
from ftkit.data.chat.turns import CALLS, Chat, Turn
from ftkit.data.unusable import Unusable

THINK_OTHERWISE = "set data.thoughts: none, or tell the template to think (data.chat_template_kwargs)"
_OTHER_WORDS = "\ue000\ue001"
"""An answer that no data have: where the text of a chat changes with it, the answer stands."""


class AskedAnswer(NamedTuple):
    """A turn of the assistant as it would be written at inference: what it is asked by, and what it writes then."""

    text: str
    start: int
    stop: int

    @property
    def words(self) -> str:
        """What the assistant writes, up to the token that ends it."""
        return self.text[self.start : self.stop]


class _Ending(NamedTuple):
    """What a template writes behind answers: up to the token that ends one, and what comes behind a whole chat."""

    end: str | None
    rest: str


class AnswerFinder:
    """Finds answers in the texts of one template, whose turns end in such special tokens."""

    def __init__(self, special: re.Pattern[str]) -> None:
        self._special = special
        self._known_ending: _Ending | None = None

    def ends_special(self, text: str) -> str:
        """The special token at the end of a text, empty when there is none."""
        return next((match[0] for match in self._special.finditer(text) if match.end() == len(text)), "")

    def plain_stop(self, written: WrittenChat, text: str, begin: int, message: Turn) -> int | None:
        """Where an answer of words alone ends that begins there as it would at the end of a chat."""
        ending, content = self._ending(written), message["content"]
        answer = content.strip()
        first = begin + len(text[begin:]) - len(text[begin:].lstrip())
        if CALLS in message or has_thoughts(message) or ending.end is None or not text.startswith(answer, first):
            return None
        stop = first + len(answer)
        for behind in (content[len(content.rstrip()) :], ""):
            if text.startswith(behind + ending.end, stop):
                return stop + len(behind) + len(ending.end) if ending.end else len(text[: stop + len(behind)].rstrip())
        return None

    def _ending(self, written: WrittenChat) -> _Ending:
        """What stands behind an answer, told from one to which the user says something and one at the end."""
        if self._known_ending is None:
            asked = [{"role": "user", "content": "a"}]
            try:
                alone = self._behind(written, asked)
                followed = self._behind(written, asked, [{"role": "user", "content": "b"}])
            except Unusable:
                self._known_ending = _Ending(None, "")
                return self._known_ending
            common = alone[: _num_common(alone, followed)]
            # the end that stands in both places, else that of the last answer
            shared = self._special.search(common)
            stop = shared.end() if shared else len(alone.rstrip())
            self._known_ending = _Ending(alone[:stop], alone[stop:].strip())
        return self._known_ending

    def _behind(self, written: WrittenChat, asked: list[Turn], more: Sequence[Turn] = ()) -> str:
        chat = Chat([*asked, {"role": "assistant", "content": _OTHER_WORDS}, *more], kwargs=written.chat.kwargs)
        return WrittenChat(written.renderer, chat, written.style).text().rpartition(_OTHER_WORDS)[2]

    def answer(self, written: WrittenChat, turn: int) -> AskedAnswer:
        """An answer behind what asks for it.

        Raises:
            Unusable: the template does not write it as it stands there, or asks for it otherwise than it writes it.
        """
        message = written.chat.messages[turn]
        given, text = written.text(turn, generation=True), written.text(turn + 1)
        if not text.startswith(given):
            text = given + self._asked_otherwise(written, turn, given, text)
        rest = self._ending(written).rest
        behind = text.rstrip()
        cut = behind.removesuffix(rest).rstrip() if rest else behind
        stop = len(cut) if self.ends_special(cut) else len(behind)
        if not holds(text[len(given) : stop], message):
            raise rewritten(written.chat, turn)
        return AskedAnswer(text, len(given), stop)

    def _asked_otherwise(self, written: WrittenChat, turn: int, given: str, text: str) -> str:
        """What the assistant writes where a whole chat does not begin with what asks for its last answer.

        Either the template shows earlier turns otherwise once there is an answer, or it opens a thought that it
        leaves out of answers; so what is asked and what is answered are put together.
        """
        message = written.chat.messages[turn]
        asked = given[_num_common(given, written.text(turn)) :]
        if has_thoughts(message) and EMPTY.search(asked):
            raise Unusable(
                f"{written.chat.name(turn)} has thoughts, and the chat template asks for none", THINK_OTHERWISE
            )
        opened = asked.rstrip().endswith(BEGIN)
        header = asked.rstrip().removesuffix(BEGIN) if opened else asked
        other = written.answering(turn, _OTHER_WORDS)
        before = other.rpartition(_OTHER_WORDS)[0]
        place = text.rfind(header, 0, _num_common(text, other))
        if not header.strip() or header not in before or place < 0:
            raise Unusable(
                "what the chat template writes before the last answer is not what it asks for one by, and it has no"
                " {% generation %} marks, so it cannot be told what the model writes itself",
                OTHER_TEMPLATE,
            )
        rest = text[place + len(header) :]
        return f"{thoughts_of(message)}\n{END}\n\n{rest.lstrip()}" if opened and END not in rest else rest


def rewritten(chat: Chat, turn: int) -> Unusable:
    """What to say of an answer that a template rewrites."""
    return Unusable(
        f"the chat template writes the answer of {chat.name(turn)} otherwise than it stands there (some take thoughts"
        " out of answers)",
        f"remove what it takes out (data.thoughts: none), or {OTHER_TEMPLATE}",
    )


def _num_common(first: str, second: str) -> int:
    """Characters with which both begin."""
    differing = (place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(differing, min(len(first), len(second)))
