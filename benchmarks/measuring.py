"""Commands timed in fresh processes: wall time, processor time, peak memory, and what others took of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NOISY = 0.05
"""Share of the machine's processor time taken by others from which on a measurement is called noisy."""


@dataclass(frozen=True)
class Timed:
    """One finished command.

    Attributes:
        seconds: wall time from start to exit, interpreter and imports included.
        cpu_seconds: processor time of the command and its children.
        peak_mib: largest resident memory of one of its processes.
        others: share of the machine's processor time that went to anything else meanwhile.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    others: float


def run_fresh(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Timed:
    """Run a command to its end in a process of its own.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    busy_before, start = _busy_seconds(), time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    # wait4 has reaped the process: without its return code, Popen would wait for it again
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output[-4000:]}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    others = max(0.0, _busy_seconds() - busy_before - cpu_seconds) / (seconds * num_processors())
    return Timed(seconds, cpu_seconds, usage.ru_maxrss / 1024, others)


def _busy_seconds() -> float:
    """Processor time spent since the machine started, by anyone, steal included; 0 where there is no /proc/stat."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def num_processors() -> int:
    """Processors of the machine, whichever this process may use."""
    return os.cpu_count() or 1


def median(values: Sequence[float]) -> float:
    """Median of at least one value."""
    return float(statistics.median(values))


def surroundings(packages: Sequence[str]) -> dict[str, Any]:
    """Hardware and versions, for the result file."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "num_processors": num_processors(),
        "platform": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().split("\n") if info.exists() else []
    wanted = ("model name", "cpu family", "model\t")
    facts = [line.split(":", 1)[1].strip() for line in lines if line.startswith(wanted)]
    return " / ".join(dict.fromkeys(facts)) or platform.processor()


def write_result(name: str, result: Mapping[str, Any], *, folder: Path = RESULTS) -> Path:
    """Write a result as JSON; returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    target.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def quietness(shares: Sequence[float]) -> str:
    """One line on what others took of the machine while the commands ran."""
    line = f"others took {median(shares):.1%} of the processor time (median), {max(shares):.1%} at most"
    noisy = sum(share > NOISY for share in shares)
    return line if not noisy else f"{line}: NOISY in {noisy} of {len(shares)} measurements, run it again when quiet"


def python(*arguments: str) -> list[str]:
    """A command line of this interpreter."""
    return [sys.executable, *arguments]
