"""Signals as requests, sent for real to this process."""

from __future__ import annotations

import os
import signal
import threading

import pytest

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
def test_outside_of_training_a_signal_raises_at_once_with_the_exit_code_of_shells(number: int):
    with pytest.raises(Interrupted) as caught, Heard().listening(Stop()):
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 128 + number


def test_in_training_a_signal_waits_until_it_is_obeyed():
    stop, heard = Stop(), Heard()
    with heard.listening(stop):
        with stop.waiting():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested
        with pytest.raises(Interrupted):
            stop.obey()
    assert len(heard.said) == 1
    assert heard.left == []


def test_scoring_inside_of_training_is_left_at_once_even_when_the_signal_came_before():
    stop = Stop()
    with Heard().listening(stop), stop.waiting():
        with pytest.raises(Interrupted), stop.at_once():
            os.kill(os.getpid(), signal.SIGINT)
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
