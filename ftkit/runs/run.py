"""The run directory: where each of its files lies, how it comes to be, and how it is found again.

runs/<name>/
  recipe.yaml      the resolved recipe: every value that was used
  manifest.json    versions, hashes, seed, hardware, command, state
  history.jsonl    one JSON object a line: training losses and validation scores by step
  probes/          losses of single training and validation examples, a file for each evaluation
  checkpoints/     what HF Trainer writes while it trains (full and lora)
  model/           the finetuned model, a standard Hugging Face or sentence-transformers folder
  metrics.json     scores of validation and test with their intervals
  predictions/     one JSON object a row, in the order of the data
  eval/            report.json, report.md and report.html of `ftkit eval`
"""

from __future__ import annotations

import glob
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ftkit.errors import UserError
from ftkit.notebook import as_html, score_rows
from ftkit.runs.checkpoints import Checkpoints
from ftkit.runs.lock import is_held_elsewhere
from ftkit.storage import (
    atomic_path,
    half_written,
    refuse_folder,
    sync_tree,
    write_json,
    write_text,
)

RUN_FORMAT = 1
RUNS = Path("runs")
"""Where runs lie unless a recipe says otherwise."""
"""Layout version of the run directory, written into its manifest."""

RunState = Literal["running", "finished", "failed", "stopped"]


@dataclass(frozen=True)
class Run:
    """Paths of one run directory."""

    path: Path

    def __fspath__(self) -> str:
        """A run stands wherever a path is asked for."""
        return str(self.path)

    def _repr_html_(self) -> str:
        """The scores, for a notebook."""
        header = ("split", "metric", "value", "95 % interval", "rows")
        return as_html(f"{self.path} ({self.state()})", header, score_rows(self.metrics()))

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def manifest_file(self) -> Path:
        """What the run was made of and how it ended."""
        return self.path / "manifest.json"

    @property
    def history_file(self) -> Path:
        """Training losses and validation scores, one JSON object a line."""
        return self.path / "history.jsonl"

    @property
    def probes_dir(self) -> Path:
        """Losses of single examples at each evaluation."""
        return self.path / "probes"

    def probe_file(self, step: int) -> Path:
        """Losses of the two probes after a step."""
        return self.probes_dir / f"{step:09d}.npz"

    @property
    def probe_rows_file(self) -> Path:
        """Which rows the probes are."""
        return self.probes_dir / "rows.npz"

    @property
    def final_test_file(self) -> Path:
        """Losses of the test split by the weights after the last step."""
        return self.probes_dir / "final_test.npz"

    def probe_files(self) -> list[Path]:
        """The files of all evaluations, in the order of their steps."""
        return sorted(self.probes_dir.glob("[0-9]*.npz"), key=lambda file: int(file.stem))

    @property
    def metrics_file(self) -> Path:
        """Final scores by split."""
        return self.path / "metrics.json"

    @property
    def skipped_file(self) -> Path:
        """Rows left out by `data.on_bad_row: skip`, one JSON object a line."""
        return self.path / "skipped_rows.jsonl"

    @property
    def model_dir(self) -> Path:
        """The finetuned model."""
        return self.path / "model"

    @property
    def checkpoints_dir(self) -> Path:
        """HF Trainer's checkpoints."""
        return self.path / "checkpoints"

    @property
    def eval_dir(self) -> Path:
        """The report of `ftkit eval`."""
        return self.path / "eval"

    def predictions_file(self, split: str) -> Path:
        """Predictions of one split, one JSON object a row."""
        return self.path / "predictions" / f"{split}.jsonl"

    def checkpoints(self, *, limit: int = 2) -> Checkpoints:
        """The sealed checkpoints; of what the run was made of before changes were allowed, they count too.

        Args:
            limit: how many are kept.
        """
        manifest = self.manifest()
        former = tuple(manifest.get("former_hashes", ()))
        return Checkpoints(self.checkpoints_dir, manifest["hashes"], former=former, limit=limit)

    def manifest(self) -> dict[str, Any]:
        """Read manifest.json."""
        manifest: dict[str, Any] = json.loads(self.manifest_file.read_text(encoding="utf-8"))
        return manifest

    def state(self) -> str:
        """How it ended, or `running`; `killed` where it says so still and no process holds it but this one."""
        state = str(self.manifest().get("state") or "")
        # who was killed could not write that down; the lock tells
        return "killed" if state == "running" and not is_held_elsewhere(self.path) else state

    def metrics(self) -> dict[str, Any]:
        """Read metrics.json; empty for a run that has not come that far."""
        if not self.metrics_file.exists():
            return {}
        metrics: dict[str, Any] = json.loads(self.metrics_file.read_text(encoding="utf-8"))
        return metrics

    def update_manifest(self, **fields: Any) -> None:
        """Rewrite manifest.json with these fields replaced."""
        current = self.manifest() if self.manifest_file.exists() else {}
        write_json(self.manifest_file, current | fields)

    def remake(self, hashes: Mapping[str, Any], *, recipe_text: str, changed: list[dict[str, str]]) -> None:
        """Take note that the run goes on with something else than it was started with.

        Args:
            hashes: of what it is made of now.
            recipe_text: the resolved recipe of now.
            changed: what is different, for the manifest.
        """
        manifest = self.manifest()
        if changed:
            manifest["changed"] = [*manifest.get("changed", []), *changed]
        if manifest["hashes"] != hashes:
            manifest["former_hashes"] = [*manifest.get("former_hashes", []), manifest["hashes"]]
        self.update_manifest(**manifest | {"hashes": dict(hashes), "error": None})
        write_text(self.recipe_file, recipe_text)

    def append_history(self, record: Mapping[str, Any]) -> None:
        """Append one line to history.jsonl; a single write, so a reader never sees half of it."""
        with self.history_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def write_jsonl(self, target: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write one JSON object a line, atomically and without holding all of them."""
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def replace_model(self, built: Path) -> None:
        """Put the finished folder `built` (on the same file system) in the place of model/."""
        sync_tree(built)
        if self.model_dir.exists():
            retired = Path(tempfile.mkdtemp(prefix=".model.old.", dir=self.path))
            self.model_dir.rename(retired / "model")
            built.rename(self.model_dir)
            shutil.rmtree(retired)
        else:
            built.rename(self.model_dir)

    def staging_dir(self) -> Path:
        """An empty folder inside the run in which a model can be written before `replace_model`."""
        staging = Path(tempfile.mkdtemp(prefix=".model.new.", dir=self.path))
        staging.chmod(0o755)
        return staging

    def cut_history(self, *, step: int) -> None:
        """Forget what was written after a step from which training goes on, a line cut short by a kill included.

        Args:
            step: 0 for a training that begins again, of which nothing is kept.
        """
        self.cut_probes(step=step)
        kept = []
        for line in self._history_lines():
            if step == 0 or not line.endswith("\n") or json.loads(line)["step"] > step:
                break
            kept.append(line)
        self._rewrite_history(kept)

    def cut_probes(self, *, step: int) -> None:
        """Forget the probes of later steps; all of them, and which rows they are, for step 0."""
        for file in self.probe_files():
            if step == 0 or int(file.stem) > step:
                file.unlink()
        self.final_test_file.unlink(missing_ok=True)
        if step == 0:
            self.probe_rows_file.unlink(missing_ok=True)

    def drop_evaluation(self, *, step: int) -> None:
        """Forget the scores of a step whose evaluation is done once more: a kill came before that was sealed."""
        lines = self._history_lines()
        kept = [line for line in lines if json.loads(line)["step"] != step or "validation_loss" not in json.loads(line)]
        if kept != lines:
            self._rewrite_history(kept)

    def _history_lines(self) -> list[str]:
        if not self.history_file.exists():
            return []
        return self.history_file.read_text(encoding="utf-8").splitlines(keepends=True)

    def _rewrite_history(self, lines: list[str]) -> None:
        if self.history_file.exists():
            write_text(self.history_file, "".join(lines))

    def clear_staging(self) -> None:
        """Undo what an interrupted save left half done: the model it was about to replace comes back."""
        for retired in self.path.glob(".model.old.*/model"):
            if not self.model_dir.exists():
                retired.rename(self.model_dir)
        for leftover in self.path.glob(".model.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for folder in (self.path, self.probes_dir, self.predictions_file("any").parent):
            for leftover in half_written(folder):
                leftover.unlink(missing_ok=True)


def is_run(path: Path) -> bool:
    """Whether a folder is a run of ftkit: its manifest says so."""
    try:
        return "ftkit_run_format" in Run(path).manifest()
    except (OSError, ValueError):
        return False


def free_name(path: Path) -> Path:
    """The first of path-2, path-3, ... that does not exist."""
    number = 2
    while path.with_name(f"{path.name}-{number}").exists():
        number += 1
    return path.with_name(f"{path.name}-{number}")


def create(path: Path, *, recipe_text: str, manifest: Mapping[str, Any], overwrite: bool = False) -> Run:
    """Make a new run directory.

    Args:
        path: the run directory.
        recipe_text: the resolved recipe.
        manifest: what the run is made of; format, state and start time are added.
        overwrite: remove a run that is already there. Folders that are no run are never removed.

    Raises:
        UserError: the folder holds something, and either it is no run or `overwrite` is false.
    """
    refuse_taken(path, overwrite=overwrite)
    if _holds_something(path):
        _remove(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.removed.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the run directory {path} cannot be made: {error.strerror}", fix="choose another training.output_dir"
        ) from error
    run = Run(path)
    run.update_manifest(
        ftkit_run_format=RUN_FORMAT,
        state="running",
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        **manifest,
    )
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


def _remove(path: Path) -> None:
    # renamed first: a kill while thousands of files are deleted leaves no half run under the name
    doomed = Path(tempfile.mkdtemp(prefix=f".{path.name}.removed.", dir=path.parent))
    path.rename(doomed / "run")
    shutil.rmtree(doomed)


def find_run(path: Path) -> Run:
    """The run at `path`.

    Raises:
        UserError: there is no run.
    """
    if not is_run(path):
        there = "exists but is no run of ftkit (no manifest.json)" if path.exists() else "does not exist"
        raise UserError(f"{path} {there}", fix="`ftkit runs` lists the runs in ./runs")
    return Run(path)


def list_runs(folder: Path) -> list[Run]:
    """Runs directly below `folder`, newest first."""
    if not folder.is_dir():
        return []
    found = [Run(entry) for entry in folder.iterdir() if entry.is_dir() and is_run(entry)]
    return sorted(found, key=lambda run: (str(run.manifest().get("started")), run.path.name), reverse=True)
