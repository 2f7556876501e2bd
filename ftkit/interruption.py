"""SIGTERM, SIGINT and SIGHUP as requests: the step is finished, its state sealed, and then the process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(BaseException):
    """The process was asked to stop; not an error, and nothing that a library should catch.

    Attributes:
        advice: how to go on, once somebody knows.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        self.advice = ""
        super().__init__(f"stopped by {signal.Signals(signum).name}")

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signum


class Stop:
    """Whether this process was asked to stop, and what an ask does at this moment.

    Outside training a signal raises at once: everything that ftkit writes is whole or absent, so leaving is safe
    anywhere. While weights are being trained or saved it only leaves word, and whoever trains looks for it.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._waits = False
        self._pid = os.getpid()
        self._say: Callable[[str], object] = lambda _message: None
        self._leave: Callable[[int], object] = lambda _code: None

    @property
    def requested(self) -> bool:
        """Whether a signal has come that has not been obeyed yet."""
        return self.signum is not None

    def obey(self) -> None:
        """Raise if a stop was asked for.

        Raises:
            Interrupted: it was.
        """
        if self.signum is not None:
            raise Interrupted(self.signum)

    @contextlib.contextmanager
    def listening(self, *, say: Callable[[str], object], leave: Callable[[int], object]) -> Iterator[None]:
        """Hear signals while this lasts; does nothing outside the main thread, where Python lets nobody hear them.

        Args:
            say: told, from a signal handler, that the step is finished first.
            leave: called with an exit code when a person asks a second time; ends the process without ado.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.signum, self._waits, self._pid = None, False, os.getpid()
        self._say, self._leave = say, leave
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            # what was ignored by whoever started this process (nohup) stays ignored
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Let signals wait until somebody asks for `requested`; for training and saving."""
        with self._set(waits=True):
            yield

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let signals raise again inside `waiting`; for work that can be left anywhere."""
        with self._set(waits=False):
            self.obey()
            yield

    @contextlib.contextmanager
    def _set(self, *, waits: bool) -> Iterator[None]:
        before, self._waits = self._waits, waits
        try:
            yield
        finally:
            self._waits = before

    def _hear(self, signum: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a process that prepares batches: its parent decides
        if self.signum is not None:
            if signum == signal.SIGINT:
                # asked twice by a person: like kill -9, after which nothing is lost either
                self._leave(128 + signum)
            return
        self.signum = signum
        if not self._waits:
            raise Interrupted(signum)
        again = " (Ctrl-C once more stops at once)" if signum == signal.SIGINT else ""
        self._say(f"stopping: the step is finished and saved first{again}")


STOP = Stop()
"""The one of this process: signals belong to a process."""
