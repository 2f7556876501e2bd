"""Plants trained, checked and judged one after the other in worker processes that import torch once."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fit.plants import Plant


def cache_folder() -> Path:
    """Where bases are kept: $FTKIT_CACHE/fit-benchmark, or ~/.cache/ftkit-fit-benchmark."""
    named = os.environ.get("FTKIT_CACHE")
    return Path(named) / "fit-benchmark" if named else Path.home() / ".cache" / "ftkit-fit-benchmark"


def prepare(plants: Sequence[Plant]) -> None:
    """Pretrain the bases that are asked for, unless they are there; in this process, before the workers start."""
    _quiet()
    from fit.models import base_model

    for task in dict.fromkeys(plant.task for plant in plants):
        base_model(task, cache_folder())


def run_all(
    plants: Sequence[Plant], *, jobs: int, effort: str, keep: Callable[[dict[str, Any]], None], judging: bool = True
) -> None:
    """Run plants and hand each record over as it comes.

    Args:
        plants: those still to do.
        jobs: processes.
        effort: of the evaluation.
        keep: takes a record.
        judging: False trains and checks the plantings only.
    """
    work = [(plant, effort, judging) for plant in plants]
    if jobs == 1:
        _quiet()
        for task in work:
            keep(run_one(task))
        return
    context = multiprocessing.get_context("spawn")
    # a worker is replaced after a while: libraries keep what they have loaded
    with context.Pool(jobs, initializer=_quiet, maxtasksperchild=60) as pool:
        for record in pool.imap_unordered(run_one, work):
            keep(record)


def _quiet() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch
    import transformers

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def run_one(work: tuple[Plant, str, bool]) -> dict[str, Any]:
    """Train, check and judge one plant; a run that breaks is recorded with its error."""
    plant, effort, judging = work
    method, began = str(plant.method["type"]), time.perf_counter()
    record: dict[str, Any] = {
        "name": plant.name, "condition": plant.condition, "task": plant.task, "method": method, "corpus": plant.corpus,
        "seed": plant.seed, "num_train": plant.num_train, "num_validation": plant.num_validation,
        "fault": dict(plant.fault), "confirmed": False, "parts": {},
    }  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix="ftkit-fit-") as folder:
            for part, fields in _stages(plant, Path(folder), effort, judging):
                record["parts"][part] = round(time.perf_counter() - began - sum(record["parts"].values()), 2)
                record |= fields
    except Exception as error:
        record["error"] = f"{type(error).__name__}: {error}"
        record["trace"] = traceback.format_exc()[-2_000:]
    record["seconds"] = round(time.perf_counter() - began, 2)
    return record


def _stages(plant: Plant, folder: Path, effort: str, judging: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    from fit import diagnosing, truth
    from fit.models import base_model
    from fit.plants import make_material
    from fit.scoring import NAIVE
    from fit.training import Planted, train_plant

    planted = Planted(plant, make_material(plant), base_model(plant.task, cache_folder()), folder)
    run = train_plant(planted)
    history = {"validation": run.losses, "train": run.train_losses, "metric": run.metric}
    naive = {name: rule(history) for name, rule in NAIVE.items()} if run.losses and run.train_losses else {}
    yield "train", {"steps": run.steps[-1], "naive": naive}
    checked = truth.check(planted, run)
    figures = {name: round(float(value), 4) for name, value in checked.figures.items()}
    yield "truth", {"confirmed": checked.confirmed, "figures": figures}
    if not judging or not checked.confirmed:
        return
    judged = diagnosing.judge(run.path, effort=effort)
    said = {"headline": judged.headline, "fired": list(judged.fired), "states": judged.states}
    yield "evaluate", {**said, "summaries": judged.summaries}
    if plant.condition in {"healthy", "too_little_data"} or plant.condition not in judged.fired:
        return
    if plant.condition in judged.for_people or not judged.keys:
        # other data, another base
        yield "advised", {"advised": {"keys": []}}
        return
    yield "advised", {"advised": _follow(planted, run.path, judged, effort)}


def _follow(planted: Any, run: Path, judged: Any, effort: str) -> dict[str, Any]:
    """Train again as advised and judge that."""
    from fit import diagnosing
    from fit.training import train_recipe

    again = train_recipe(planted, diagnosing.advised_recipe(run, judged), name="advised")
    after = diagnosing.judge(again.path, effort=effort)
    return {"keys": judged.keys, "headline": after.headline, "fired": list(after.fired)}


def read_records(path: Path) -> list[dict[str, Any]]:
    """Records of a file that a stopped benchmark left, or none."""
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return found
