"""The long fault suite: `make faults`. Hundreds of kills, every write of a save and of a rotation, and hostile inputs.

    python -m tests.faults.campaign                    # all of it, about an hour on 2 cores
    python -m tests.faults.campaign --kills 20 --chains 5 --every 10

Prints a table of what was done, how often the fault really happened, and how many runs were lost or ended otherwise.
Exits 1 when there is any, and writes what each of them said.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

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
from tests.faults.mutations import fuzz_recipes, mutate_data
from tests.faults.surroundings import (
    COMMANDS,
    DISKS,
    command_stopped,
    damaged_cache,
    full_disk,
    hung_up,
    killed_overwrite,
    lost_cache,
    moved_run,
)
from tests.faults.tiny_runs import KINDS, SHORT, TASKS
from tests.fixtures.forge import Server

ATTEMPTS = 4
"""A moment drawn too late hits nobody; another is drawn, this often at most."""

_ground: Ground | None = None


@dataclass(frozen=True)
class Work:
    """One experiment, as a worker is told of it."""

    kind: str
    task: str
    seed: int
    at: int = 0
    mode: str = ""


def begin_worker(folder: str, server: str) -> None:
    """A folder of its own for each worker."""
    global _ground
    _ground = Ground.prepared(Path(tempfile.mkdtemp(dir=folder)), Path(server))


def do(work: Work) -> list[Finding]:
    """One experiment, again with another moment while the fault did not happen."""
    assert _ground is not None
    ground = _ground
    if work.kind == "data":
        return mutate_data(ground.forge.folder, seed=work.seed, number=work.at)
    if work.kind == "recipes":
        return fuzz_recipes(seed=work.seed, number=work.at)
    for attempt in range(ATTEMPTS):
        chance = random.Random(f"{work.seed} {attempt}")
        found = attempt_once(ground, work, chance)
        if found.fired or not found.good:
            break
    return [found]


def attempt_once(ground: Ground, work: Work, chance: random.Random) -> Finding:
    """One experiment with its moment drawn from `chance`."""
    if work.kind in ("kill", "chain"):
        return killed_at_random(ground, work.task, chance, kills=1 if work.kind == "kill" else 5)
    if work.kind == "signal":
        _, seconds = ground.whole(work.task)
        return stopped_by_signal(ground, work.task, work.at, seconds=chance.uniform(0.05, 0.9 * seconds))
    if work.kind == "crash":
        return crashed_at_operation(ground, work.task, work.at, mode=work.mode)
    if work.kind == "refuse":
        return refused_writes(ground, work.task, work.at, mode=work.mode)
    if work.kind == "damage":
        return damaged_checkpoint(ground, work.task, chance, how=work.mode)
    return befalls_surroundings(ground, work, chance)


def befalls_surroundings(ground: Ground, work: Work, chance: random.Random) -> Finding:
    """As `attempt_once`, for the surroundings of a run and for the other commands."""
    if work.kind == "hang up":
        return hung_up(ground, work.task, work.mode)
    if work.kind == "cache":
        return lost_cache(ground, chance) if work.mode == "lost" else damaged_cache(ground, chance, how=work.mode)
    if work.kind == "move":
        return moved_run(ground, work.task, chance, how=work.mode)
    if work.kind == "overwrite":
        return killed_overwrite(ground, work.task, chance)
    if work.kind == "disk":
        return full_disk(ground, work.task, work.mode, chance, read_only=bool(work.at))
    return command_stopped(ground, work.task, work.at, chance)


def plan(args: argparse.Namespace, operations: dict[str, list[str]]) -> Iterator[Work]:
    """Every experiment of the campaign."""
    for kind in KINDS:
        kills = args.kills if kind in TASKS else args.kills // 3
        yield from (Work("kill", kind, seed) for seed in range(kills))
        yield from (Work("signal", kind, seed, at=15 if seed % 2 else 2) for seed in range(args.signals))
    for task in TASKS:
        for how in ("a flipped bit", "a cut file", "a lost file"):
            yield from (Work("damage", task, seed, mode=how) for seed in range(args.damages))
    yield from (Work("chain", TASKS[seed % len(TASKS)], seed) for seed in range(args.chains))
    for task in args.exhaustive:
        for at, kind in list(enumerate(operations[task], start=1))[:: args.every]:
            yield Work("crash", task, at, at=at, mode="kill")
            # a disk that fails once is told as a full one is: where there is no room to want, and at some others
            if kind == "unlink" or at % 4 == 0:
                yield Work("refuse", task, at, at=at, mode="eio")
            if kind == "write":
                yield Work("crash", task, at, at=at, mode="torn")
            if kind != "unlink":
                yield Work("refuse", task, at, at=at, mode="enospc")
    yield from surroundings(args.surroundings)
    yield from (Work("data", "", seed, at=args.files // 10) for seed in range(10))
    yield from (Work("recipes", "", seed, at=args.recipes // 10) for seed in range(10))


def surroundings(number: int) -> Iterator[Work]:
    """What befalls terminals, caches, folders, disks and the other commands, so many times each."""
    for seed in range(number):
        yield from (Work("hang up", task, seed, mode=kind) for task in ("causal_lm",) for kind in ("terminal", "pipe"))
        yield from (Work("cache", "", seed, mode=how) for how in ("a flipped bit", "a cut file", "a lost file", "lost"))
        yield from (Work("move", task, seed, mode=how) for task in KINDS for how in ("renamed", "removed"))
        yield from (Work("overwrite", task, seed) for task in KINDS)
        yield from (Work("stop", command, seed, at=at) for command in COMMANDS for at in (1, 2, 9, 15))
        yield from (Work("disk", command, seed, seed % 2, which) for command in COMMANDS for which in DISKS)


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=300, help="kill -9 at a random moment, for each trainer")
    parser.add_argument("--chains", type=int, default=100, help="five kills in a row")
    parser.add_argument("--signals", type=int, default=20, help="SIGTERM and SIGINT, for each trainer")
    parser.add_argument("--damages", type=int, default=10, help="checkpoints damaged in each way, for each trainer")
    parser.add_argument("--every", type=int, default=1, help="take every Nth file operation")
    parser.add_argument("--exhaustive", nargs="*", default=["classification"], help="trainers of which each is failed")
    parser.add_argument("--files", type=int, default=5000, help="mutated data files")
    parser.add_argument("--recipes", type=int, default=10_000, help="fuzzed recipes")
    parser.add_argument("--surroundings", type=int, default=10, help="each fault of terminals, caches, folders, disks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    console, start = Console(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="ftkit-faults-"))
    server = Server.started()
    ground = Ground.prepared(Path(tempfile.mkdtemp(dir=folder)), server.folder)
    if ground.forge.shim is None:
        console.print("the campaign needs Linux and a C compiler")
        return 2
    operations = {task: kinds_of_operations(ground, task, *SHORT) for task in args.exhaustive}
    works = list(plan(args, operations))
    random.Random(args.seed).shuffle(works)
    found: dict[str, list[Finding]] = defaultdict(list)
    with (
        ProcessPoolExecutor(args.workers, initializer=begin_worker, initargs=(str(folder), str(server.folder))) as pool,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        track = bar.add_task("faults", total=len(works))
        for done in as_completed([pool.submit(do, work) for work in works]):
            bar.advance(track)
            for finding in done.result():
                found[finding.fault].append(finding)
                if not finding.good:
                    console.print(f"{finding.fault}:\n{finding.note}", markup=False, highlight=False)
    console.print(table_of(found))
    console.print(f"{time.monotonic() - start:,.0f} s; {sum(map(len, operations.values()))} operations of a run")
    server.close()
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(finding.good for findings in found.values() for finding in findings) else 1


def table_of(found: dict[str, list[Finding]]) -> Table:
    """Fault by fault: how many, how many happened, and what came of them."""
    table = Table("fault", "injected", "fired", "lost", "differing", "untold")
    columns: list[Callable[[Finding], bool]] = [
        lambda _finding: True,
        lambda finding: finding.fired,
        lambda finding: finding.lost,
        lambda finding: finding.differs,
        lambda finding: not finding.told,
    ]
    sums = [0] * len(columns)
    for name in sorted(found):
        counts = [sum(finding.number for finding in found[name] if column(finding)) for column in columns]
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        table.add_row(name, *(f"{count:,}" for count in counts))
    table.add_section()
    table.add_row("all", *(f"{count:,}" for count in sums))
    return table


if __name__ == "__main__":
    sys.exit(main())
