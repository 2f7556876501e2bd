"""A trial is made where something that is open depends on it."""

from __future__ import annotations

import pytest

from ftkit.commands.trial_choice import first_trials, further_trials
from ftkit.diagnosis.verdict import CHECKS, Check, State, Verdict
from ftkit.methods.section import Trains


def verdict(**states: State) -> Verdict:
    checks = [Check(name, states.get(name, "clear"), "") for name in CHECKS]
    return Verdict("", "", "", checks, ())


def test_a_run_that_leaves_nothing_open_is_tried_for_longer_alone():
    assert first_trials(verdict(), trains="weights", thorough=False) == {"longer"}
    assert first_trials(verdict(), trains="head", thorough=False) == set()


def test_a_pace_that_is_high_at_the_end_is_held_against_more_steps():
    assert "longer" in first_trials(verdict(not_converged="fired"), trains="weights", thorough=False)


@pytest.mark.parametrize("name", ["overfit", "memorised"])
def test_rows_that_are_known_by_heart_are_not_shown_for_longer(name: str):
    assert "longer" not in first_trials(verdict(**{name: "fired"}), trains="weights", thorough=False)


@pytest.mark.parametrize(("trains", "kinds"), [("adapter", {"longer", "rank"}), ("head", {"rank", "unfrozen"})])
def test_a_capacity_that_is_open_is_held_against_more_trained_weights(trains: Trains, kinds: set[str]):
    assert first_trials(verdict(capacity="cannot_tell"), trains=trains, thorough=False) == kinds


def test_where_nothing_was_learnt_ten_times_the_rate_is_tried_and_then_a_hundred():
    nothing = verdict(no_gain="fired", not_converged="fired")
    assert "rate" in first_trials(nothing, trains="weights", thorough=False)
    assert further_trials(nothing) == {"faster"}
    assert further_trials(verdict(not_converged="fired")) == set()


def test_far_data_that_were_not_learnt_while_the_base_forgot_ask_for_a_lower_rate():
    assert further_trials(verdict(domain_gap="fired", forgetting="fired")) == {"slower"}
    assert further_trials(verdict(forgetting="fired")) == set()


def test_the_thorough_try_everything_that_may_tell_of_underfitting():
    assert first_trials(verdict(), trains="weights", thorough=True) == {"rate", "longer", "rank", "unfrozen"}
