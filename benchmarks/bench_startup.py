"""Start-up: what a command costs before and beside its work, against the imports that nobody can do without.

    python benchmarks/bench_startup.py

Commands run in turn, each in a fresh process, several rounds; figures are medians. The warm `ftkit train` is a second
run of the quickstart with its features stored, start to exit.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from measuring import Timed, median, python, quietness, run_fresh, surroundings, write_result
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
PACKAGES = ("typer", "pydantic", "torch", "transformers", "numpy")
GOALS = {
    "help": ("import_typer", 1.3),
    "train_warm": ("import_torch_transformers", 2.5),
}
"""Command -> what it is held against, and how many times as long it may take."""
SECONDS_GOALS = {"check_no_data": 0.5}
"""Command -> seconds that it may take."""


def commands(recipe: Path, run: Path) -> dict[str, list[str]]:
    """The command lines, by name; each comparison stands beside what it is compared with."""
    return {
        "import_typer": python("-c", "import typer"),
        "help": python("-m", "ftkit", "--help"),
        "check_no_data": python("-m", "ftkit", "check", str(recipe), "--no-data"),
        "import_torch_transformers": python("-c", "import torch, transformers"),
        "train_warm": python("-m", "ftkit", "train", str(recipe), "--overwrite", f"training.output_dir={run}"),
    }


def measure(lines: dict[str, list[str]], *, rounds: int, cache: Path) -> dict[str, list[Timed]]:
    """Times by command. An unmeasured round first compiles bytecode, fills the page cache and stores the features."""
    env = {"FTKIT_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    times: dict[str, list[Timed]] = {name: [] for name in lines}
    for round_number in range(rounds + 1):
        for name, line in lines.items():
            timed = run_fresh(line, env=env, cwd=cache.parent)
            if round_number:
                times[name].append(timed)
    return times


def figures(times: dict[str, list[Timed]]) -> dict[str, dict[str, Any]]:
    """Median seconds by command, its ratio where it has a goal, and whether the goal is met."""
    seconds = {name: median([timed.seconds for timed in one]) for name, one in times.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, one in times.items():
        row: dict[str, Any] = {"seconds": seconds[name], "peak_mib": median([timed.peak_mib for timed in one])}
        row["seconds_by_round"] = [timed.seconds for timed in one]
        if name in GOALS:
            other, goal = GOALS[name]
            ratio = seconds[name] / seconds[other]
            row |= {"against": other, "ratio": ratio, "goal": goal, "met": ratio <= goal}
        if name in SECONDS_GOALS:
            row |= {"goal_seconds": SECONDS_GOALS[name], "met": seconds[name] <= SECONDS_GOALS[name]}
        rows[name] = row
    return rows


def as_table(rows: dict[str, dict[str, Any]], lines: dict[str, list[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("command", "seconds", "ratio", "goal", "peak MiB"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for name, row in rows.items():
        goal = f"{row['goal']} x" if "goal" in row else f"{row['goal_seconds']} s" if "goal_seconds" in row else "-"
        table.add_row(
            " ".join(["python", *lines[name][1:]]).replace(f"{ROOT}/", "")[:70],
            f"{row['seconds']:.3f}",
            f"{row['ratio']:.2f}" if "ratio" in row else "-",
            goal + ("" if row.get("met", True) else " MISSED"),
            f"{row['peak_mib']:.0f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "quickstart.yaml")
    parser.add_argument("--output", default="startup", help="name of the result file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as name:
        cache, run = Path(name) / "cache", Path(name) / "run"
        lines = commands(options.recipe.resolve(), run)
        times = measure(lines, rounds=options.rounds, cache=cache)
    rows = figures(times)
    Console(width=140, highlight=False).print(as_table(rows, lines))
    shares = [timed.others for one in times.values() for timed in one]
    print(quietness(shares))
    result = {
        "surroundings": surroundings(PACKAGES),
        "rounds": options.rounds,
        "commands": rows,
        "others": {"median": median(shares), "largest": max(shares)},
    }
    print(f"written to {write_result(options.output, result)}")


if __name__ == "__main__":
    main()
