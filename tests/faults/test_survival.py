"""A run is killed, stopped, starved and damaged, by real processes and real signals, and ends the same to the bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import load_file

from ftkit.runs.lock import lock_file
from ftkit.runs.run import Run
from tests.faults.experiments import (
    Finding,
    Ground,
    crashed_at_operation,
    damaged_checkpoint,
    killed_at_random,
    kinds_of_operations,
    refused_writes,
    stopped_by_signal,
)
from tests.faults.outcomes import outcome_of
from tests.faults.surroundings import COMMANDS, command_stopped, damaged_cache, full_disk, hung_up, moved_run
from tests.faults.tiny_runs import KINDS, SHORT


@pytest.fixture(scope="module")
def num_operations(failing: Ground) -> int:
    return len(kinds_of_operations(failing, "classification", *SHORT))


def check(experiment: Callable[[int], Finding]) -> None:
    """Run an experiment until its fault has happened: on a busy machine a moment can come too late."""
    for attempt in range(5):
        found = experiment(attempt)
        assert found.good, f"{found}\n{found.note}"
        if found.fired:
            return
    raise AssertionError(f"{found.fault}: the fault did not happen\n{found.note}")


@pytest.mark.parametrize("task", KINDS)
def test_a_run_that_is_killed_twice_ends_in_the_same_bits(ground: Ground, task: str):
    check(lambda attempt: killed_at_random(ground, task, random.Random(attempt), kills=2 if attempt < 2 else 1))


@pytest.mark.parametrize("task", ["causal_lm"])
def test_a_run_that_saves_by_the_clock_goes_on_in_the_same_bits(ground: Ground, task: str):
    by_the_clock = ("training.save_strategy=minutes", "training.save_minutes=0.001", "training.eval_steps=5")
    check(lambda attempt: killed_at_random(ground, task, random.Random(attempt), kills=2, more=by_the_clock))


@pytest.mark.parametrize(
    ("task", "after", "number"),
    [("classification", "parameters are trained", signal.SIGTERM), ("causal_lm", "step 4:", signal.SIGINT)],
)
def test_a_signal_in_training_seals_the_step_and_ends_with_its_exit_code(
    ground: Ground, task: str, after: str, number: int
):
    check(lambda attempt: stopped_by_signal(ground, task, number, after=after, seconds=0.02 * (attempt % 3)))


@pytest.mark.parametrize("kind", ["terminal", "pipe"])
def test_a_step_is_sealed_although_nobody_can_be_told_any_more(ground: Ground, kind: str):
    check(lambda _attempt: hung_up(ground, "causal_lm", kind))


def test_an_evaluation_that_a_signal_breaks_off_comes_first_after_a_resume_in_the_random_state_it_had(ground: Ground):
    def broken_off(_attempt: int) -> Finding:
        run = ground.new_run()
        child = ground.start("classification", run)
        history = Run(run).history_file
        # the third line, of the training loss at step 4, comes right before the scores of that step
        while child.is_running() and (not history.exists() or history.read_text().count("\n") < 3):
            time.sleep(0.0005)
        child.signal(signal.SIGTERM)
        child.wait()
        last, same = ground.finish("classification", run)
        due = "its evaluation comes first" in last.output()
        return Finding("signal in an evaluation", fired=due, differs=not same, note=child.output() + last.output())

    check(broken_off)


@pytest.mark.parametrize(
    ("share", "mode"), [(0.043, "kill"), (0.15, "kill"), (0.45, "torn"), (0.6, "kill"), (0.75, "torn")]
)
def test_a_crash_in_the_middle_of_writing_loses_one_save_at_most(
    failing: Ground, num_operations: int, share: float, mode: str
):
    at = round(share * num_operations)
    check(lambda _attempt: crashed_at_operation(failing, "classification", at, mode=mode))


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_full_disk_ends_in_one_message_and_keeps_the_older_checkpoint(
    failing: Ground, num_operations: int, share: float
):
    at = round(share * num_operations)
    check(lambda _attempt: refused_writes(failing, "classification", at, mode="enospc"))


def test_a_failing_disk_ends_in_one_message(failing: Ground, num_operations: int):
    at = round(0.4 * num_operations)
    check(lambda _attempt: refused_writes(failing, "classification", at, mode="eio"))


@pytest.mark.parametrize("how", ["a flipped bit", "a cut file"])
def test_a_damaged_checkpoint_is_noticed_and_the_older_one_is_taken(ground: Ground, how: str):
    check(lambda attempt: damaged_checkpoint(ground, "classification", random.Random(attempt), how=how))


def test_a_second_process_is_refused_at_once_and_the_first_goes_on(ground: Ground):
    expected, _ = ground.whole("causal_lm")
    run = ground.new_run()
    first = ground.start("causal_lm", run)
    first.wait_for("parameters are trained")
    begun = time.monotonic()
    second = ground.start("causal_lm", run, "--resume")
    assert second.wait() == 2
    assert time.monotonic() - begun < 2.0
    assert f"process {first.pid} on {socket.gethostname()}" in second.output()
    assert ground.start("causal_lm", run, "--overwrite").wait() == 2
    assert first.wait() == 0, first.output()
    assert outcome_of(run) == expected
    assert not lock_file(run).exists()


def test_the_lock_of_a_dead_process_is_taken_over_and_said(ground: Ground):
    run = ground.new_run()
    child = ground.start("classification", run)
    child.wait_for("parameters are trained")
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert lock_file(run).exists()
    last, same = ground.finish("classification", run)
    assert same, last.output()
    assert f"process {child.pid} on" in last.output()
    assert "taken over" in last.output()


def test_a_resume_with_another_recipe_is_refused_by_key_and_both_values_unless_allowed(ground: Ground):
    run = ground.stopped()
    refused = ground.start("classification", run, "--resume", "training.learning_rate=1e-4")
    assert refused.wait() == 2
    assert "training.learning_rate: 0.001 -> 0.0001" in refused.output()
    assert "--allow-changed training.learning_rate" in refused.output()
    unknown = ground.start("classification", run, "--resume", "--allow-changed", "training.learning_rat")
    assert unknown.wait() == 2
    assert "did you mean training.learning_rate?" in unknown.output()
    # a refusal changes nothing
    _, same = ground.finish("classification", run)
    assert same
    run = ground.stopped()
    allowed = ground.start(
        "classification", run, "--resume", "training.learning_rate=1e-4", "--allow-changed", "training.learning_rate"
    )
    assert allowed.wait() == 0, allowed.output()
    assert "going on from checkpoint-" in allowed.output()
    assert Run(run).manifest()["changed"] == [{"field": "training.learning_rate", "before": "0.001", "now": "0.0001"}]


def test_a_resume_with_other_data_is_refused_by_split(ground: Ground):
    run = ground.stopped()
    data = ground.forge.folder / "labelled.jsonl"
    before = data.read_text(encoding="utf-8")
    try:
        data.write_text(before.replace("lamp", "bulb"), encoding="utf-8")
        refused = ground.start("classification", run, "--resume")
        assert refused.wait() == 2
    finally:
        data.write_text(before, encoding="utf-8")
    assert "data.train: 48 rows of sha256" in refused.output()
    assert "data.validation" not in refused.output()


def test_a_finished_run_says_so_and_ends_well(ground: Ground):
    run = ground.new_run()
    assert ground.start("classification", run).wait() == 0
    again = ground.start("classification", run, "--resume")
    assert again.wait() == 0
    assert "is finished already" in again.output()


def test_a_resume_from_a_named_checkpoint_ends_in_the_same_bits(ground: Ground):
    expected, _ = ground.whole("classification", "training.save_total_limit=5")
    run = ground.new_run()
    child = ground.start("classification", run, "training.save_total_limit=5")
    assert child.wait() == 0
    Run(run).update_manifest(state="stopped")
    named = run / "checkpoints" / "checkpoint-8"
    elsewhere = ground.forge.folder / "checkpoint-8"
    shutil.copytree(named, elsewhere)
    stray = ground.start("classification", run, "training.save_total_limit=5", "--resume", str(elsewhere))
    assert stray.wait() == 2
    assert "is no checkpoint of the run" in stray.output()
    last = ground.start("classification", run, "training.save_total_limit=5", "--resume", str(named))
    assert last.wait() == 0, last.output()
    assert "going on from checkpoint-8" in last.output()
    assert outcome_of(run) == expected


def test_the_signal_of_a_batch_job_is_obeyed_with_a_manifest_that_says_stopped(ground: Ground):
    run = ground.stopped()
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["state"] == "stopped"
    assert "SIGTERM" in manifest["error"]


def test_numbers_that_are_not_finite_stop_the_run_before_the_update_with_its_exit_code(ground: Ground):
    run = ground.new_run()
    child = ground.start("classification", run, "training.learning_rate=1e30", "training.eval_steps=1")
    assert child.wait() == 3, child.output()
    assert "Traceback" not in child.output()
    assert "nothing was updated with it" in child.output()
    for step in Run(run).checkpoints().steps():
        checkpoints = Run(run).checkpoints()
        weights = load_file(checkpoints.open(checkpoints.path(step)).path / "model.safetensors")
        assert all(np.isfinite(weight).all() for weight in weights.values())


def test_a_flipped_bit_in_stored_features_is_noticed_and_they_are_made_anew(ground: Ground):
    check(lambda attempt: damaged_cache(ground, random.Random(attempt), how="a flipped bit"))


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_a_run_that_is_moved_while_it_trains_leaves_no_stub_of_itself(ground: Ground, how: str):
    check(lambda attempt: moved_run(ground, "causal_lm", random.Random(attempt), how=how))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_leaves_nothing_once_it_is_given_again(ground: Ground, command: str, number: int):
    check(lambda attempt: command_stopped(ground, command, number, random.Random(attempt)))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_the_disk_that_is_full(ground: Ground, command: str):
    which = "temporary" if command == "train --smoke" else "output"
    found = full_disk(ground, command, which, random.Random(0), read_only=True)
    assert found.good, f"{found}\n{found.note}"
