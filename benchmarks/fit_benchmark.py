"""`ftkit eval` against planted runs: how often its headline is right, and what simple rules would have said.

    python benchmarks/fit_benchmark.py --set tuning --jobs 2

Runs that are in the result file already are not done again, so that a stopped benchmark goes on; --fresh begins anew.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# before torch is imported, here and in the workers
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from fit import diagnosing
from fit.conditions import SETS, make_set
from fit.runner import prepare, read_records, run_all
from fit.table import render

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Parse the command line, run what is missing, print the tables."""
    options = _options()
    target = options.out or RESULTS / f"fit-{options.set}.json"
    records = [] if options.fresh else read_records(target)
    plants = [plant for plant in make_set(options.set) if options.only in {None, plant.condition}]
    plants = plants[: options.limit]
    judging = diagnosing.can_judge() and not options.plants_only
    done = {record["name"] for record in records if _is_done(record, options, judging=judging)}
    left = [plant for plant in plants if plant.name not in done]
    records = [record for record in records if record["name"] in done]
    print(f"{options.set} set: {len(plants)} runs, {len(plants) - len(left)} done already", flush=True)
    prepare(left)
    began = time.perf_counter()

    def keep(record: dict[str, Any]) -> None:
        records.append(record)
        _write(target, options, records)
        print(_line(record, len(records), began), flush=True)

    run_all(left, jobs=options.jobs, effort=options.effort, keep=keep, judging=judging)
    names = {plant.name for plant in plants}
    print("\n" + render([record for record in records if record["name"] in names]))
    print(f"\n{len(left)} runs in {time.perf_counter() - began:.0f} s; {target}")


def _is_done(record: dict[str, Any], options: argparse.Namespace, *, judging: bool) -> bool:
    """Whether a record of an earlier call is all there is to know: with --plants-only nothing was judged."""
    if record.get("error"):
        return not options.again
    return not (judging and record["confirmed"] and "headline" not in record)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--set", choices=[*SETS], default="tuning")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each on one core")
    parser.add_argument("--only", default=None, metavar="CONDITION")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="the first N runs")
    parser.add_argument("--effort", choices=["quick", "standard", "thorough"], default="standard")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--resume", action="store_true", default=True, help="go on with the result file (the default)")
    parser.add_argument("--fresh", action="store_true", help="do every run anew")
    parser.add_argument("--again", action="store_true", help="try runs that broke once more")
    parser.add_argument("--plants-only", action="store_true", help="train and check the plantings, judge nothing")
    return parser.parse_args()


def _line(record: dict[str, Any], number: int, began: float) -> str:
    if "error" in record:
        said = f"broken: {record['error'][:120]}"
    elif not record["confirmed"]:
        said = f"planting failed: {record.get('figures')}"
    else:
        said = record.get("headline", "planted")
    return f"{number:4} {time.perf_counter() - began:6.0f} s  {record['name']:30} {record['task']:14} {said}"


def _write(target: Path, options: argparse.Namespace, records: list[dict[str, Any]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"set": options.set, "effort": options.effort, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    temporary = target.with_suffix(".tmp")
    temporary.write_text(
        json.dumps({**content, "runs": records}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    temporary.replace(target)


if __name__ == "__main__":
    main()
