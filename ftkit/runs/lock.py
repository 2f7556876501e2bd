"""One process, one run: a lock beside the run directory, with the name of its holder in it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftkit.disk import refuse_folder
from ftkit.errors import UserError
from ftkit.progress import Reporter


def lock_file(run: Path) -> Path:
    """Where the lock of a run lies: beside it, so that it outlives a run that is replaced."""
    resolved = run.resolve()
    return resolved.with_name(f".{resolved.name}.lock")


@contextlib.contextmanager
def locked(run: Path, *, reporter: Reporter) -> Iterator[None]:
    """Hold a run for this process; the operating system lets go of it when the process ends, however it ends.

    The run directory need not exist yet. A lock left behind by a process that died is said.

    Raises:
        UserError: another process holds it.
    """
    from filelock import FileLock, Timeout

    path = lock_file(run)
    refuse_folder(path.parent, wanted=path)
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"the run {run} is being worked on by {_in_words(_holder(path))}",
            fix="wait for it, stop it, or choose another training.output_dir",
        ) from None
    try:
        if left := _holder(path):
            reporter.say(f"{run} was held by {_in_words(left)}, which is gone: its lock is taken over")
        _sign(path)
        yield
    finally:
        # removed while it is still held: who waits for the removed file finds out that it guards nothing any more
        path.unlink(missing_ok=True)
        lock.release()
        # where no run came to be, no folder for it stays
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def is_held_elsewhere(run: Path) -> bool:
    """Whether another process is working on a run at this moment."""
    from filelock import FileLock, Timeout

    path = lock_file(run)
    if not path.exists() or _holder(path).get("pid") == os.getpid():
        return False
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _sign(path: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    path.write_text(json.dumps(holder), encoding="utf-8")


def _holder(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return holder if isinstance(holder, dict) else {}
    except (OSError, ValueError):
        return {}


def _in_words(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} (since {holder.get('since')})"
