"""Signals as requests, sent for real to this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ftkit import interruption
from ftkit.interruption import SIGNALS, Interrupted, Stop


@pytest.fixture(autouse=True)
def default_handlers():
    """A shell's background job, as whatever runs the tests may be, hands down signals that are ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Heard:
    """What a stop told and did."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.left: list[int] = []

    def listening(self, stop: Stop):
        return stop.listening(say=self.said.append, leave=self.left.append)


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_of_training_a_signal_is_obeyed_where_work_comes_by_with_the_exit_code_of_shells(number: int):
    stop = Stop()
    with Heard().listening(stop):
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as caught:
            stop.poll()
    assert caught.value.exit_code == 128 + number


def test_a_handler_never_raises_so_that_a_signal_in_the_middle_of_a_deletion_is_not_lost():
    class Deleted:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    stop = Stop()
    with Heard().listening(stop):
        Deleted()
        with pytest.raises(Interrupted):
            stop.poll()


def test_a_stop_that_somebody_swallowed_is_asked_for_again_at_the_next_place():
    stop = Stop()
    with Heard().listening(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(2):
            with pytest.raises(Interrupted):
                stop.poll()


def test_where_no_work_comes_by_the_process_is_ended_but_never_with_a_step_that_is_not_sealed(monkeypatch):
    monkeypatch.setattr(interruption, "UNHEARD_SECONDS", 0.1)
    stop, heard = Stop(), Heard()
    with heard.listening(stop):
        with stop.waiting(), contextlib.suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.4)
            assert heard.left == []
        time.sleep(0.4)
    assert heard.left == [143]


def test_nobody_waits_for_a_terminal_that_stands_still():
    stop, free = Stop(), threading.Event()
    with stop.listening(say=lambda _message: free.wait(10.0), leave=print), stop.waiting():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    free.set()


def test_in_training_a_signal_waits_until_it_is_obeyed():
    stop, heard = Stop(), Heard()
    with heard.listening(stop):
        with stop.waiting():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested
            stop.poll()
        with pytest.raises(Interrupted):
            stop.obey()
    assert len(heard.said) == 1
    assert heard.left == []


def test_scoring_inside_of_training_is_left_at_once_even_when_the_signal_came_before():
    stop = Stop()
    with Heard().listening(stop), stop.waiting():
        with stop.at_once():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(Interrupted):
                stop.poll()
        with pytest.raises(Interrupted), stop.at_once():
            raise AssertionError("a stop that was asked for is obeyed before the work begins")


def test_ctrl_c_twice_leaves_without_ado_and_sigterm_twice_does_not():
    stop, heard = Stop(), Heard()
    with heard.listening(stop), stop.waiting():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.left == []
        os.kill(os.getpid(), signal.SIGINT)
    assert heard.left == [130]


def test_handlers_are_as_before_afterwards_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        usual = signal.getsignal(signal.SIGTERM)
        with Heard().listening(Stop()):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != usual
        assert signal.getsignal(signal.SIGTERM) == usual
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_listens_to_nobody():
    seen = []

    def body() -> None:
        with Heard().listening(Stop()):
            seen.append(signal.getsignal(signal.SIGTERM))

    usual = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [usual]


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_signal_behind_the_end_of_the_work_leaves_the_exit_code_that_the_work_has(number: str):
    code = (
        "import atexit, os, signal, sys, time; import ftkit.__main__ as entry;"
        "sys.argv = ['ftkit', 'runs', '/nowhere'];"
        f"atexit.register(lambda: (os.kill(os.getpid(), signal.{number}), time.sleep(0.2))); entry.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done.stderr
