"""The run that a new one replaces: moved aside until the new one is finished, and back where that comes to nothing.

Every move is one rename, under the lock of the run; a kill between two of them is made good by `recover`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ftkit.interruption import Interrupted
from ftkit.runs.run import Run
from ftkit.storage import sync_folder

REPLACES = "replaces"
"""In the manifest of a run: names of folders beside it that it replaces, newest first; removed when it is finished."""


def new_folder(path: Path) -> Path:
    """Where a run that replaces another is made; hidden, beside it."""
    return path.with_name(f".{path.name}.new")


def has_learnt(run: Run) -> bool:
    """Whether there is in a run what took a training to get: a model, a checkpoint, or a step in its history."""
    if run.model_dir.is_dir() or run.state() == "finished" or any(run.checkpoints_dir.glob("checkpoint-*")):
        return True
    try:
        lines = run.history_file.read_text(encoding="utf-8").splitlines()
        return any(json.loads(line)["step"] > 0 for line in lines)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def replaced_by(run: Run) -> list[Path]:
    """What a run replaces, as long as it is there; the newest first."""
    names = run.manifest().get(REPLACES, [])
    # a name and no path: nothing elsewhere is ever moved or removed
    return [found for name in names if (found := run.path.with_name(Path(str(name)).name)).is_dir()]


def aside_of(path: Path) -> Path:
    """A free name for what is moved aside."""
    found, number = path.with_name(f"{path.name}.replaced"), 2
    while found.exists():
        found, number = path.with_name(f"{path.name}.replaced-{number}"), number + 1
    return found


def put_in_place(path: Path, aside: Path | None) -> None:
    """Give the new folder of a run its name; what has it moves aside, or goes where it is worth nothing."""
    if aside is not None:
        path.rename(aside)
    else:
        remove(path)
    new_folder(path).rename(path)
    sync_folder(path.parent)


def recover(path: Path) -> None:
    """Finish a replacement in which the process was killed; called under the lock, before anything else."""
    staging = new_folder(path)
    if not staging.is_dir():
        return
    if path.exists() or not Run(staging).recipe_file.is_file():
        shutil.rmtree(staging, ignore_errors=True)
    else:
        staging.rename(path)


def let_go(run: Run) -> None:
    """Remove what a finished run replaces."""
    if found := replaced_by(run):
        for folder in found:
            remove(folder)
        run.update_manifest(**{REPLACES: []})


def bring_back(run: Run) -> Path | None:
    """Put back what a run replaces, where it came to nothing before it had learnt anything; its folder, or None."""
    if not run.manifest_file.is_file() or has_learnt(run) or not (found := replaced_by(run)):
        return None
    run.path.rename(new_folder(run.path))
    found[0].rename(run.path)
    shutil.rmtree(new_folder(run.path), ignore_errors=True)
    return run.path


@contextlib.contextmanager
def kept_meanwhile(run: Run, *, say: Callable[[str], object]) -> Iterator[None]:
    """While a run is under way, keep what it replaces: let go when this ends well, put back where nothing was learnt.

    A run that was asked to stop stays where it is, to be gone on with.
    """
    kept = replaced_by(run)
    if kept:
        say(f"the run that this one replaces is kept in {kept[0]} until this one is finished")
    try:
        yield
    except Interrupted as stop:
        if kept:
            stop.advice += f"; the run that it replaces is in {kept[0]}"
        raise
    except Exception:
        if bring_back(run) is not None:
            say(f"nothing was learnt: the run that was to be replaced is back in {run.path}")
        elif kept:
            say(f"the run that was to be replaced is in {kept[0]}")
        raise
    let_go(run)


def remove(path: Path) -> None:
    """Remove a folder; renamed first, so that a kill among thousands of files leaves no half of it under its name."""
    doomed = Path(tempfile.mkdtemp(prefix=f".{path.name}.removed.", dir=path.parent))
    path.rename(doomed / "run")
    shutil.rmtree(doomed)
