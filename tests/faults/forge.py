"""Real `ftkit` processes by the dozen, their files made to fail at will, and what is left of a run compared."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KILLED = -signal.SIGKILL
QUIET = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def compiler() -> str | None:
    """The C compiler that makes the shim, None where there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build_shim(folder: Path) -> Path | None:
    """The library that makes file operations fail; None without a compiler, or where LD_PRELOAD is unknown."""
    if compiler() is None or not sys.platform.startswith("linux"):
        return None
    target = folder / "shim.so"
    command = [str(compiler()), "-O1", "-shared", "-fPIC", "-o", str(target), str(HERE / "shim.c")]
    subprocess.run(command, check=True)
    return target


@dataclass
class Child:
    """One `ftkit` process."""

    forge: Forge
    pid: int
    log: Path
    code: int | None = None

    def wait(self, *, seconds: float = 120.0) -> int:
        """The exit code, minus the signal for a process that one killed."""
        end = time.monotonic() + seconds
        while self.code is None:
            answer = self.forge.ask({"wait": self.pid, "poll": True})
            if answer["ended"]:
                self.code = answer["status"]
            elif time.monotonic() > end:
                self.signal(signal.SIGKILL)
                raise AssertionError(f"still running after {seconds} s:\n{self.output()}")
            else:
                time.sleep(0.005)
        return self.code

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        if self.code is None and (answer := self.forge.ask({"wait": self.pid, "poll": True}))["ended"]:
            self.code = answer["status"]
        return self.code is None

    def signal(self, number: int) -> None:
        """Send a real signal."""
        if self.code is None:
            os.kill(self.pid, number)

    def output(self) -> str:
        """What it wrote to stdout and stderr."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_for(self, text: str, *, seconds: float = 60.0) -> None:
        """Until it has written `text`."""
        end = time.monotonic() + seconds
        while text not in self.output():
            assert self.is_running(), f"ended with {self.code} before it wrote {text!r}:\n{self.output()}"
            assert time.monotonic() < end, f"{text!r} was not written in {seconds} s:\n{self.output()}"
            time.sleep(0.005)


@dataclass
class Forge:
    """Starts `ftkit` processes in a folder.

    Args:
        folder: working directory of all of them.
        shim: the library that makes file operations fail.
    """

    folder: Path
    shim: Path | None = None

    def __post_init__(self) -> None:
        env = os.environ | QUIET
        if self.shim is not None:
            env["LD_PRELOAD"] = str(self.shim)
        self.numbers = iter(range(10**9))
        self.server = subprocess.Popen(
            [sys.executable, str(HERE / "forge_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        assert self._read() == {"ready": True}

    def _read(self) -> dict[str, Any]:
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert line, "the forge has died"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send one order, return its answer."""
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return self._read()

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> Child:
        """Start `ftkit ARGV`."""
        log = self.folder / f"log-{next(self.numbers)}.txt"
        order = {"argv": list(argv), "cwd": str(self.folder), "env": dict(env or {}), "log": str(log)}
        return Child(self, self.ask(order)["pid"], log)

    def run(self, *argv: str, env: Mapping[str, str] | None = None, seconds: float = 120.0) -> Child:
        """Start it and wait for its end."""
        child = self.start(*argv, env=env)
        child.wait(seconds=seconds)
        return child

    def close(self) -> None:
        """End the server."""
        self.server.kill()
        self.server.communicate()


def fault_env(folder: Path, *, at: int, mode: str, log: Path) -> dict[str, str]:
    """What tells the shim to make the Nth file operation below a folder fail."""
    return {"FAULT_DIR": str(folder), "FAULT_AT": str(at), "FAULT_MODE": mode, "FAULT_LOG": str(log)}


def operations(log: Path) -> list[str]:
    """What the shim saw, one line an operation."""
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def fired(log: Path) -> bool:
    """Whether the fault was really made."""
    return any(line.split(" ", 2)[1] == "fired" for line in operations(log))


def weights_of(run: Path) -> dict[str, str]:
    """SHA-256 of the weight files that a run ends in."""
    files = sorted((run / "model").rglob("*.safetensors"))
    assert files, f"{run} holds no weights"
    # by path: an encoder and the head on it are files of one name
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def outcome_of(run: Path) -> dict[str, Any]:
    """All of a finished run that must not depend on how often it was stopped: weights, scores, predictions."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["state"] == "finished", manifest
    predictions = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((run / "predictions").iterdir())
    }
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    scored = [
        {name: value for name, value in line.items() if name.startswith(("step", "validation"))}
        for line in map(json.loads, (run / "history.jsonl").read_text(encoding="utf-8").splitlines())
        if any(name.startswith("validation") for name in line)
    ]
    return {"weights": weights_of(run), "predictions": predictions, "metrics": metrics, "validation": scored}


def lines_of(texts: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in texts)
