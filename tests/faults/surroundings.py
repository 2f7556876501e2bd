"""What befalls the surroundings of a run: its terminal, its cache, its folder, the run that it replaces, its disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from ftkit.runs.replacing import replaced_by
from ftkit.runs.run import Run
from tests.faults.experiments import Finding, Ground, clear, damage, verified
from tests.faults.outcomes import outcome_of, weights_of
from tests.fixtures.forge import KILLED, Child

HANG_UP = """
import os, signal, sys, threading
from ftkit.cli.app import main
kind, number = sys.argv[1:3]
reader, writer = os.openpty() if kind == "terminal" else os.pipe()
os.dup2(writer, 1), os.dup2(writer, 2), os.close(writer)
def hang_up():
    seen = b""
    while b"step 4:" not in seen:
        seen += os.read(reader, 4096)
    os.close(reader)
    os.kill(os.getpid(), int(number))
threading.Thread(target=hang_up, daemon=True).start()
sys.argv = ["ftkit", *sys.argv[3:]]
main()
"""
"""`ftkit` behind a terminal or a pipe that goes away in the middle of training, with the signal that then comes."""


def hung_up(ground: Ground, task: str, kind: str) -> Finding:
    """A terminal is closed (SIGHUP, then EIO), or `| tee` dies of the Ctrl-C that stops the run; then to the end."""
    ground.whole(task)
    number = signal.SIGHUP if kind == "terminal" else signal.SIGINT
    run = ground.new_run()
    words = ("train", f"{task}.yaml", f"training.output_dir={run}")
    child = ground.forge.start(kind, str(int(number)), *words, code=HANG_UP)
    code = child.wait()
    manifest = Run(run).manifest()
    happened = code != 0
    sealed = manifest["state"] == "stopped" and bool(verified(run))
    last, same = ground.finish(task, run)
    note = "" if same and sealed else f"exit {code}, {manifest}\n{child.output()}\n{last.output()}"
    clear(run)
    return Finding(
        f"the {kind} goes away, {task}",
        fired=happened,
        lost=happened and not sealed,
        differs=not same,
        told=not happened or code == 128 + number,
        note=note,
    )


def damaged_cache(ground: Ground, chance: random.Random, *, how: str) -> Finding:
    """A bit flips, or a file is cut or lost, in stored features; the next run over the same data ends the same."""
    expected, _ = ground.whole("frozen")
    first, run = ground.new_run(), ground.new_run()
    env = {"FTKIT_CACHE": f"{first}.cache"}
    assert ground.start("frozen", first).wait() == 0
    files = sorted(path for path in Path(f"{first}.cache", "features").rglob("*") if path.is_file())
    victim = chance.choice(files)
    damage(victim, chance, how=how)
    child = ground.start("frozen", run, env=env)
    code = child.wait()
    said = child.output()
    told = said.count("is made anew") == 1 and "Traceback" not in said
    differs = code == 0 and outcome_of(run) != expected
    clear(run)
    clear(first)
    note = "" if told and not differs and code == 0 else f"{victim.name}\n{said}"
    return Finding(f"{how} in the cache", fired=True, lost=code != 0, differs=differs, told=told, note=note)


def lost_cache(ground: Ground, chance: random.Random) -> Finding:
    """The cache is removed at a random moment; one message at most, and a resume ends the same."""
    _, seconds = ground.whole("frozen")
    run = ground.new_run()
    child = ground.start("frozen", run)
    time.sleep(chance.uniform(0.05, 0.7 * seconds))
    there = Path(f"{run}.cache").exists()
    shutil.rmtree(f"{run}.cache", ignore_errors=True)
    code = child.wait()
    told = code in (0, 2, 3) and "Traceback" not in child.output()
    last, same = ground.finish("frozen", run)
    note = "" if told and same else f"exit {code}\n{child.output()}\n{last.output()}"
    clear(run)
    return Finding("the cache is removed", fired=there, lost=last.code != 0, differs=not same, told=told, note=note)


def moved_run(ground: Ground, task: str, chance: random.Random, *, how: str) -> Finding:
    """A run directory is renamed or removed while it trains: told, no stub in its place, and gone on with elsewhere."""
    _, seconds = ground.whole(task)
    run, elsewhere = ground.new_run(), ground.new_run()
    child = ground.start(task, run)
    while child.is_running() and not (run / "recipe.yaml").exists():
        time.sleep(0.002)
    time.sleep(chance.uniform(0.0, 0.5 * seconds))
    try:
        run.rename(elsewhere)
    except OSError:
        return Finding(f"the run is {how}, {task}", fired=False)
    if how == "removed":
        shutil.rmtree(elsewhere)
    code = child.wait()
    told = code in (0, 3) and "Traceback" not in child.output() and not run.exists()
    last, same = ground.finish(task, run if how == "removed" else elsewhere)
    note = "" if told and same else f"exit {code}, there: {run.exists()}\n{child.output()}\n{last.output()}"
    clear(run)
    clear(elsewhere)
    lost = last.code != 0
    return Finding(f"the run is {how}, {task}", fired=code != 0, lost=lost, differs=not same, told=told, note=note)


def killed_overwrite(ground: Ground, task: str, chance: random.Random) -> Finding:
    """kill -9 while a finished run is replaced: it is whole until the new one is finished, which then ends the same."""
    _, seconds = ground.whole(task)
    run = ground.new_run()
    assert ground.start(task, run, "training.seed=8").wait() == 0
    before = weights_of(run)
    child = ground.start(task, run, "--overwrite")
    time.sleep(chance.uniform(0.1, seconds))
    child.signal(signal.SIGKILL)
    killed = child.wait() == KILLED
    kept = [run, *(replaced_by(Run(run)) if (run / "manifest.json").exists() else [])]
    lost = killed and not any((one / "model").is_dir() and weights_of(one) in (before, whole_of(one)) for one in kept)
    # killed before it was moved aside, the old one is there still and is made of something else
    again = "--overwrite" if weights_where_finished(run) == before else "--resume"
    last = ground.start(task, run, again)
    code = last.wait()
    same = code == 0 and outcome_of(run) == ground.whole(task)[0] and not list(run.parent.glob(f"{run.name}.replaced*"))
    note = "" if same and not lost else f"{[str(one) for one in kept]}\n{child.output()}\n{last.output()}"
    clear(run)
    return Finding(f"kill -9 in --overwrite, {task}", fired=killed, lost=lost or code != 0, differs=not same, note=note)


def whole_of(run: Path) -> dict[str, str] | None:
    """The weights of a run that is finished."""
    return weights_of(run) if Run(run).manifest()["state"] == "finished" else None


def weights_where_finished(run: Path) -> dict[str, str] | None:
    """The same, also where there is no run."""
    return whole_of(run) if (run / "manifest.json").exists() else None


COMMANDS = {
    "predict": ("classification", ("predict", "RUN", "--file", "labelled.jsonl", "--out", "OUT/rows.jsonl")),
    "generate": ("causal_lm", ("generate", "RUN", "--file", "texts.jsonl", "--out", "OUT/rows.jsonl")),
    "export": ("classification", ("export", "RUN", "OUT/model")),
    "export --merge": ("causal_lm", ("export", "RUN", "OUT/model", "--merge")),
    "eval": ("classification", ("eval", "RUN", "--quick", "--out", "OUT/eval")),
    "train --smoke": ("classification", ("train", "classification.yaml", "--smoke")),
}
"""What is done with a finished run: the trainer of the run, and the words."""


def finished(ground: Ground, task: str) -> Path:
    """A finished run that is only read."""
    run = ground.forge.folder / "runs" / f"finished-{task}"
    if not run.exists():
        assert ground.start(task, run).wait() == 0
    return run


def run_command(ground: Ground, command: str, out: Path, env: dict[str, str]) -> Child:
    """Start one of the commands."""
    task, words = COMMANDS[command]
    run = finished(ground, task)
    typed = [word.replace("RUN", str(run)).replace("OUT", str(out)) for word in words]
    return ground.forge.start(*typed, env=env)


def seconds_of(ground: Ground, command: str) -> float:
    """How long a command takes that nothing happens to."""
    key = ("ftkit", command)
    if key not in ground.known:
        out = ground.new_run()
        out.mkdir(parents=True)
        start = time.monotonic()
        child = run_command(ground, command, out, {"FTKIT_CACHE": f"{out}.cache"})
        assert child.wait() == 0, child.output()
        ground.known[key] = {}, time.monotonic() - start
        clear(out)
    return ground.known[key][1]


def command_stopped(ground: Ground, command: str, number: int, chance: random.Random) -> Finding:
    """SIGTERM, SIGINT, SIGHUP or SIGKILL to another command than train; done once more, nothing of it lies about."""
    out = ground.new_run()
    out.mkdir(parents=True)
    scratch = out / "tmp"
    scratch.mkdir()
    env = {"TMPDIR": str(scratch), "FTKIT_CACHE": f"{out}.cache"}
    finished(ground, COMMANDS[command][0])
    seconds = seconds_of(ground, command)
    child = run_command(ground, command, out, env)
    time.sleep(chance.uniform(0.02, 0.9 * seconds))
    child.signal(number)
    code = child.wait()
    stopped = code == (KILLED if number == signal.SIGKILL else 128 + number)
    told = code == 0 or (stopped and "Traceback" not in child.output())
    again = run_command(ground, command, out, env)
    lost = again.wait() != 0 and not (code == 0 and "exists already" in again.output())
    left = [str(path) for path in out.rglob("*.ftkit")]
    note = "" if told and not lost and not left else f"exit {code}, left {left}\n{child.output()}\n{again.output()}"
    clear(out)
    return Finding(f"signal {number}, ftkit {command}", fired=stopped, lost=lost or bool(left), told=told, note=note)


DISKS = ("output", "cache", "temporary")


def full_disk(ground: Ground, command: str, which: str, chance: random.Random, *, read_only: bool) -> Finding:
    """A small or read-only disk of its own (tmpfs) for what a command writes; one message, and it works elsewhere."""
    out = ground.new_run()
    disk = out / "disk"
    disk.mkdir(parents=True)
    finished(ground, COMMANDS[command][0])
    size = chance.choice((4, 16, 64, 128, 256))
    mount = ("mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk))
    name = f"{'read-only' if read_only else 'full'} disk for {which}, ftkit {command}"
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        return Finding(name, fired=False)
    if read_only:
        subprocess.run(("mount", "-o", "remount,ro", str(disk)), check=True)
    try:
        places = {name: str(disk if name == which else out / name) for name in DISKS}
        for name_of, place in places.items():
            if name_of != which:
                Path(place).mkdir()
        env = {"TMPDIR": places["temporary"], "FTKIT_CACHE": places["cache"]}
        child = run_command(ground, command, Path(places["output"]), env)
        code = child.wait()
        said = child.output()
        named = str(disk) in said or (which == "temporary" and "TMPDIR" in said)
        told = code == 0 or (code in (2, 3) and "Traceback" not in said and named and "go on with --resume" not in said)
        left = list(disk.rglob("*.ftkit"))
    finally:
        subprocess.run(("umount", str(disk)), check=True)
    note = "" if told and not left else f"{size} KiB, exit {code}, left {left}\n{said}"
    clear(out)
    return Finding(name, fired=code != 0, lost=bool(left), told=told, note=note)
