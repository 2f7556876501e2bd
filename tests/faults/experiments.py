"""The experiments of the fault suite: one fault made for real in one run, then a resume, then a comparison.

Each gives a `Finding`; the tests take a few of them, `campaign.py` takes hundreds.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftkit.runs.checkpoints import Checkpoints
from ftkit.runs.run import Run
from ftkit.runs.seals import BrokenSeal
from tests.faults.outcomes import fault_env, fired, operations, outcome_of
from tests.faults.tiny_runs import SHORT, write_tiny_runs
from tests.fixtures.forge import KILLED, Child, Forge

PLACED = re.compile(r"/checkpoints/checkpoint-(\d+)$")
GOES_ON = re.compile(r"going on from checkpoint-(\d+)")


@dataclass(frozen=True)
class Finding:
    """What one experiment showed.

    Attributes:
        fault: what was done, in words.
        fired: whether it really happened.
        lost: whether more than one save interval was lost, or the run could not go on at all.
        differs: whether the run ended otherwise than one that nothing happened to.
        told: whether what had to be said was said, with the exit code that it has.
        note: what to look at when something is wrong.
        number: how many inputs it stands for.
    """

    fault: str
    fired: bool
    lost: bool = False
    differs: bool = False
    told: bool = True
    note: str = ""
    number: int = 1

    @property
    def good(self) -> bool:
        """Nothing lost, nothing different, and all that had to be said was."""
        return not self.lost and not self.differs and self.told


@dataclass
class Ground:
    """A folder in which runs are started, stopped and compared."""

    forge: Forge
    numbers: Any = field(default_factory=itertools.count)
    known: dict[tuple[str, ...], tuple[dict[str, Any], float]] = field(default_factory=dict)
    stopped_first: Path | None = None

    @classmethod
    def prepared(cls, folder: Path, server: Path) -> Ground:
        """With data and recipes written."""
        write_tiny_runs(folder)
        forge = Forge(server, folder)
        # the seconds of a whole run are what kills are drawn from
        forge.opened()
        return cls(forge)

    def new_run(self) -> Path:
        """A name that no run has yet."""
        return self.forge.folder / "runs" / f"run-{next(self.numbers)}"

    def start(self, task: str, run: Path, *more: str, env: dict[str, str] | None = None) -> Child:
        """Start a training into a run directory; a frozen encoder's features go into a cache of the run's own."""
        own = {"FTKIT_CACHE": f"{run}.cache"} if task == "frozen" else {}
        return self.forge.start("train", f"{task}.yaml", f"training.output_dir={run}", *more, env=own | dict(env or {}))

    def whole(self, task: str, *more: str) -> tuple[dict[str, Any], float]:
        """Outcome and seconds of the run that nothing happens to; made once."""
        key = (task, *more)
        if key not in self.known:
            run, start = self.new_run(), time.monotonic()
            child = self.start(task, run, *more)
            assert child.wait() == 0, child.output()
            self.known[key] = outcome_of(run), time.monotonic() - start
            clear(run)
        return self.known[key]

    def stopped(self) -> Path:
        """A run that SIGTERM stopped after a checkpoint or two; a copy of the one that was stopped first."""
        run = self.new_run()
        if self.stopped_first is None:
            child = self.start("classification", run)
            while child.is_running() and not Run(run).checkpoints_dir.joinpath("checkpoint-4").exists():
                time.sleep(0.002)
            child.signal(signal.SIGTERM)
            assert child.wait() == 143, child.output()
            self.stopped_first = run.with_name("stopped-first")
            shutil.copytree(run, self.stopped_first)
        else:
            shutil.copytree(self.stopped_first, run)
        return run

    def finish(self, task: str, run: Path, *more: str) -> tuple[Child, bool]:
        """Resume to the end: the process, and whether it ended as the run that nothing happened to."""
        child = self.start(task, run, "--resume", *more)
        if child.wait() != 0:
            return child, False
        return child, outcome_of(run) == self.whole(task, *more)[0]


def killed_at_random(
    ground: Ground, task: str, chance: random.Random, *, kills: int = 1, more: Sequence[str] = ()
) -> Finding:
    """kill -9 at a random moment, `kills` times in a row, each time while it goes on; then to the end."""
    _, seconds = ground.whole(task, *more)
    # several kills must all come before the end, which each resume brings nearer
    latest = seconds if kills == 1 else 0.5 * seconds
    run, happened, logs = ground.new_run(), 0, []
    for number in range(kills):
        child = ground.start(task, run, *(["--resume"] if number else []), *more)
        time.sleep(chance.uniform(0.1, latest))
        child.signal(signal.SIGKILL)
        happened += child.wait() == KILLED
        logs.append(child.output())
    last, same = ground.finish(task, run, *more)
    note = "" if same else "\n".join([*logs, last.output()])
    clear(run)
    name = f"kill -9 x {kills}, {task}"
    return Finding(name, fired=happened == kills, lost=last.code != 0, differs=not same, note=note)


def stopped_by_signal(ground: Ground, task: str, number: int, *, after: str = "", seconds: float = 0.0) -> Finding:
    """SIGTERM or SIGINT, some time after the run has said something; then to the end.

    Args:
        ground: where.
        task: which trainer.
        number: the signal.
        after: text that the process must have written first; from its start when empty.
        seconds: more to wait.
    """
    ground.whole(task)
    run = ground.new_run()
    child = ground.start(task, run)
    if after:
        child.wait_for(after)
    time.sleep(seconds)
    child.signal(number)
    start = time.monotonic()
    code = child.wait()
    took = time.monotonic() - start
    happened = code == 128 + number
    last, same = ground.finish(task, run)
    told = not happened or "stopped by" in child.output()
    note = "" if same and told else f"{child.output()}\n{last.output()}\ntook {took:.1f} s, exit {code}"
    clear(run)
    return Finding(
        f"signal {number}, {task}", fired=happened, lost=last.code != 0, differs=not same, told=told, note=note
    )


def kinds_of_operations(ground: Ground, task: str, *more: str) -> list[str]:
    """Every file operation below runs/ that a whole training makes: create, write, fsync, rename, unlink, ..."""
    run = ground.new_run()
    log = ground.forge.folder / f"{run.name}.count"
    child = ground.start(task, run, *more, env=fault_env(run, at=0, mode="count", log=log))
    assert child.wait() == 0, child.output()
    shutil.rmtree(run)
    return [line.split(" ", 2)[1] for line in operations(log)]


def crashed_at_operation(ground: Ground, task: str, at: int, *, mode: str) -> Finding:
    """The process dies at its Nth file operation (`kill`), or in the middle of a write (`torn`); then to the end."""
    run = ground.new_run()
    log = ground.forge.folder / f"{run.name}.ops"
    child = ground.start(task, run, *SHORT, env=fault_env(run, at=at, mode=mode, log=log))
    code = child.wait()
    happened = code == KILLED and fired(log)
    placed = _placed(operations(log))
    last, same = ground.finish(task, run, *SHORT)
    found = GOES_ON.search(last.output())
    came_back_to = int(found[1]) if found else 0
    finished = "is finished already" in last.output()
    lost = last.code != 0 or (not finished and came_back_to < max(placed, default=0) - 2)
    note = "" if same and not lost else f"{operations(log)[-3:]}\n{child.output()}\n{last.output()}"
    clear(run, log)
    return Finding(f"{mode} at operation, {task}", fired=happened, lost=lost, differs=not same, note=note)


def refused_writes(ground: Ground, task: str, at: int, *, mode: str) -> Finding:
    """The disk is full from the Nth operation on (`enospc`), or fails once (`eio`); then there is room again."""
    run = ground.new_run()
    log = ground.forge.folder / f"{run.name}.ops"
    child = ground.start(task, run, *SHORT, env=fault_env(run, at=at, mode=mode, log=log))
    code = child.wait()
    happened = fired(log)
    placed = _placed(operations(log))
    # before the run directory is whole nothing was under way: an ordinary refusal
    told = not happened or (code in (2, 3) and "Traceback" not in child.output()) or (mode == "eio" and code == 0)
    whole = verified(run)
    lost = bool(placed) and not whole
    last, same = ground.finish(task, run, *SHORT)
    lost = lost or last.code != 0
    note = (
        "" if same and told and not lost else f"{operations(log)[-3:]}\nexit {code}\n{child.output()}\n{last.output()}"
    )
    clear(run, log)
    return Finding(f"{mode} at operation, {task}", fired=happened, lost=lost, differs=not same, told=told, note=note)


def damaged_checkpoint(ground: Ground, task: str, chance: random.Random, *, how: str) -> Finding:
    """A bit flips, or a file is cut or lost, in the newest of two checkpoints of a stopped run; then to the end."""
    run = ground.new_run()
    child = ground.start(task, run, "training.save_total_limit=3")
    while child.is_running() and len(_steps(run)) < 2:
        time.sleep(0.002)
    child.signal(signal.SIGKILL)
    child.wait()
    steps = _steps(run)
    victim = None
    if len(steps) > 1:
        files = sorted((run / "checkpoints" / f"checkpoint-{steps[0]}").iterdir())
        victim = chance.choice([path for path in files if path.stat().st_size > 0])
        damage(victim, chance, how=how)
    last, same = ground.finish(task, run, "training.save_total_limit=3")
    told = victim is None or f"checkpoint-{steps[0]} is skipped" in last.output()
    note = "" if same and told else f"{victim} {how} {steps}\n{last.output()}"
    shutil.rmtree(run, ignore_errors=True)
    name = f"{how} in a checkpoint, {task}"
    return Finding(name, fired=victim is not None, lost=last.code != 0, differs=not same, told=told, note=note)


def damage(victim: Path, chance: random.Random, *, how: str) -> None:
    data = bytearray(victim.read_bytes())
    if how == "a flipped bit":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        victim.write_bytes(data)
    elif how == "a cut file":
        victim.write_bytes(data[: chance.randrange(len(data))])
    else:
        victim.unlink()


def _steps(run: Path) -> list[int]:
    return Checkpoints(run / "checkpoints").steps()


def _placed(lines: Sequence[str]) -> list[int]:
    """Steps whose checkpoints had got their place before the fault; the last line is the fault itself."""
    done = [line for line in lines if " rename " in line][:-1]
    return [int(found[1]) for line in done if (found := PLACED.search(line))]


def verified(run: Path) -> list[int]:
    found = []
    for step in _steps(run):
        with contextlib.suppress(BrokenSeal):
            checkpoints = Run(run).checkpoints()
            found.append(checkpoints.open(checkpoints.path(step)).progress.step)
    return found


def clear(run: Path, log: Path | None = None) -> None:
    for folder in (run, Path(f"{run}.cache")):
        shutil.rmtree(folder, ignore_errors=True)
    if log is not None:
        log.unlink(missing_ok=True)
