"""SIGTERM, SIGINT and SIGHUP as requests: the step is finished, its state sealed, and then the process ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

UNHEARD_SECONDS = 3.0
"""So long after a signal the process ends without ado where no work came by to obey it: inside a library, say."""
WAITS, GOES = b"w", b"g"
"""How it rings: whether a step is finished first."""
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

    A signal leaves word and does no more: an exception raised by a handler may land in a `__del__`, where Python drops
    it. Long work comes by at `poll`, which raises, since everything that ftkit writes is whole or absent; while weights
    are being trained or saved it does not, and whoever trains looks for the word.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._waits = False
        self._obeyed = False
        self._owes = False
        self._pid = os.getpid()
        self._bell: int | None = None
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
            self._obeyed = True
            raise Interrupted(self.signum)

    def poll(self) -> None:
        """As `obey`, where nobody waits for a step to be finished; costs nothing, and belongs into every long loop.

        Raises:
            Interrupted: a stop was asked for.
        """
        if not self._waits:
            self.obey()

    def find_spec(self, _name: str, _path: object, _target: object = None) -> None:
        """Come by at `poll` with every module that is imported, which can take seconds; finds none."""
        self.poll()

    @contextlib.contextmanager
    def listening(self, *, say: Callable[[str], object], leave: Callable[[int], object]) -> Iterator[None]:
        """Hear signals while this lasts; does nothing outside the main thread, where Python lets nobody hear them.

        Args:
            say: told, in a thread of its own, that the step is finished first.
            leave: called with an exit code when a person asks a second time, or when no work obeys; ends the process.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.signum, self._waits, self._owes, self._obeyed, self._pid = None, False, False, False, os.getpid()
        self._say, self._leave = say, leave
        heard, self._bell = os.pipe()
        watcher = threading.Thread(target=self._watch, args=(heard,), daemon=True)
        watcher.start()
        sys.meta_path.insert(0, self)
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
            sys.meta_path.remove(self)
            os.close(self._bell)
            # not for ever: it may be writing to a terminal that stands still
            watcher.join(timeout=1.0)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Let `poll` pass over signals until somebody asks for `requested`; for training and saving."""
        before, self._owes = self._owes, True
        try:
            with self._set(waits=True):
                yield
        finally:
            self._owes = before

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let `poll` raise again inside `waiting`; for work that can be left anywhere."""
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
        assert self._bell is not None, "handlers are as before when it is closed"
        # a terminal may be gone, or stand still: the watcher writes to it, not who is to finish the step
        os.write(self._bell, WAITS if self._waits else GOES)

    def _watch(self, heard: int) -> None:
        """Say that a signal was heard, and end the process where no work obeys it; until the other end is closed."""
        with open(heard, "rb", buffering=0) as bell:
            if not (rung := bell.read(1)):
                return
            assert self.signum is not None, "it rings last"
            if rung == WAITS:
                again = " (Ctrl-C once more stops at once)" if self.signum == signal.SIGINT else ""
                self._say(f"stopping: the step is finished and saved first{again}")
            looked_for = time.monotonic()
            while not select.select([bell], [], [], 0.1)[0]:
                # steps that were learnt are sealed first, however long that takes
                if self._owes or self._obeyed:
                    looked_for = time.monotonic()
                elif time.monotonic() - looked_for > UNHEARD_SECONDS:
                    self._leave(128 + self.signum)
                    return


STOP = Stop()
"""The one of this process: signals belong to a process."""
