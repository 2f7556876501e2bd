"""The folder of a run: how it comes to be, what it is made with, what is refused, and how it is found again."""

from __future__ import annotations

import glob
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftkit.disk import refuse_folder
from ftkit.errors import UserError
from ftkit.runs.replacing import REPLACES, aside_of, has_learnt, new_folder, put_in_place, replaced_by
from ftkit.runs.run import Run
from ftkit.storage import write_json, write_text
from ftkit.version import __version__

RUN_FORMAT = 1
"""Layout version of the run directory, written into its manifest."""
RUNS = Path("runs")
"""Where runs lie unless a recipe says otherwise."""


def is_run(path: Path) -> bool:
    """Whether a folder is a run of ftkit: its manifest says so."""
    try:
        return "ftkit_run_format" in Run(path).manifest()
    except UserError:
        return False


def refuse_broken_run(path: Path) -> None:
    """Refuse a folder with a manifest.json that cannot be read: it would be taken for something else than a run.

    Raises:
        UserError: with the reason; or there are pipes and the like in it, which nobody can read to their end.
    """
    for folder in (path, Run(path).model_dir):
        refuse_special_files(folder)
    if Run(path).manifest_file.exists():
        Run(path).manifest()


def refuse_special_files(folder: Path) -> None:
    """Refuse a folder that holds a pipe, a socket or a device.

    Raises:
        UserError: naming it.
    """
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.exists() and not entry.is_file() and not entry.is_dir():
            raise UserError(f"{entry.name} is no ordinary file", where=str(entry), fix="remove it")


def free_name(path: Path) -> Path:
    """The first of path-2, path-3, ... that does not exist."""
    number = 2
    while path.with_name(f"{path.name}-{number}").exists():
        number += 1
    return path.with_name(f"{path.name}-{number}")


def create(path: Path, *, recipe_text: str, manifest: Mapping[str, Any], overwrite: bool = False) -> Run:
    """Make a new run directory; format, state and start time are added to what the manifest says.

    With `overwrite` a run that is already there is moved aside until the new one is finished (see `replacing`); one
    that had learnt nothing is removed. Folders that are no run are never moved.

    Raises:
        UserError: the folder holds something, and either it is no run or `overwrite` is false.
    """
    refuse_taken(path, overwrite=overwrite)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.removed.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    facts = {
        "ftkit_run_format": RUN_FORMAT,
        "state": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **manifest,
    }
    if not _holds_something(path):
        return _make(path, recipe_text, facts)
    before = Run(path)
    aside = aside_of(path) if has_learnt(before) else None
    replaced = [*([aside] if aside is not None else []), *replaced_by(before)]
    shutil.rmtree(new_folder(path), ignore_errors=True)
    _make(new_folder(path), recipe_text, facts | {REPLACES: [folder.name for folder in replaced]})
    put_in_place(path, aside)
    return Run(path)


def _make(path: Path, recipe_text: str, manifest: Mapping[str, Any]) -> Run:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the run directory {path} cannot be made: {error.strerror}", fix="choose another training.output_dir"
        ) from error
    run = Run(path)
    write_json(run.manifest_file, manifest)
    write_text(run.recipe_file, recipe_text)
    return run


def refuse_taken(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a new run that holds something; called early, before any work is done for the run.

    Raises:
        UserError: `path` is a file, a folder that is no run, or a run and `overwrite` is false.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, not a folder for a run", fix="choose another training.output_dir")
    refuse_folder(path, wanted=path)
    if not _holds_something(path):
        return
    if not is_run(path):
        raise UserError(
            f"{path} exists, is not empty and is not a run of ftkit, so it is left alone",
            fix=f"choose another folder, for example training.output_dir={free_name(path)}",
        )
    if not overwrite:
        raise UserError(
            f"the run {path} exists already ({Run(path).state()})",
            fix="add --resume to go on with it, --overwrite to replace it, "
            f"or training.output_dir={free_name(path)} for a new one",
        )


def _holds_something(path: Path) -> bool:
    # a kill before the first file was whole leaves only that file's beginnings, which are nobody's work
    return path.is_dir() and any(not entry.name.startswith(".manifest.json.") for entry in path.iterdir())


def find_run(path: Path) -> Run:
    """The run at `path`.

    Raises:
        UserError: there is no run.
    """
    refuse_broken_run(path)
    if not is_run(path):
        there = "exists but is no run of ftkit (no manifest.json)" if path.exists() else "does not exist"
        raise UserError(f"{path} {there}", fix="`ftkit runs` lists the runs in ./runs")
    Run(path).sweep()
    return Run(path)


def list_runs(folder: Path) -> list[Run]:
    """Runs directly below `folder`, newest first."""
    if not folder.is_dir():
        return []
    found = [Run(entry) for entry in folder.iterdir() if entry.is_dir() and is_run(entry)]
    return sorted(found, key=lambda run: (str(run.manifest().get("started")), run.path.name), reverse=True)


LIBRARIES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Version of Python, ftkit and the libraries that decide numbers; nothing is imported to find out."""
    found = {"python": platform.python_version(), "ftkit": __version__}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, number of cores this process may use, and accelerators by name."""
    import torch

    facts: dict[str, Any] = {
        "system": platform.platform(),
        "processor": str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        facts["accelerators"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    elif torch.accelerator.is_available():
        facts["accelerators"] = [str(torch.accelerator.current_accelerator())]
    return facts
