"""The run directory: where each of its files lies, and how they are written.

runs/<name>/
  recipe.yaml      the resolved recipe: every value that was used
  manifest.json    versions, hashes, seed, hardware, command, state
  history.jsonl    one JSON object a line: training losses and validation scores by step
  skipped_rows.jsonl  rows left out by `data.on_bad_row: skip`, one JSON object a line
  probes/          losses of single training and validation examples, a file for each evaluation; rows.npz says which
                   they are, final_test.npz has the test split's by the weights after the last step, out_of_fold.npz
                   the logits of training rows in folds
  checkpoints/     what HF Trainer writes while it trains (full and lora)
  model/           the finetuned model, a standard Hugging Face or sentence-transformers folder
  before_refit/    with training.refit: the model that was scored on validation, before the one that is kept learnt from
                   these rows too
  refit/           with training.refit: history.jsonl, probes/ and checkpoints/ of the second training
  metrics.json     scores of validation and test with their intervals
  predictions/     one JSON object a row, in the order of the data
  eval/            report.json, report.md and report.html of `ftkit eval`
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ftkit.disk import writing_told
from ftkit.errors import UserError
from ftkit.notebook import as_html, score_rows
from ftkit.runs.checkpoints import Checkpoints
from ftkit.runs.lock import is_held_elsewhere
from ftkit.storage import atomic_path, held_folder, read_json_object, sync_tree, write_json, write_text
from ftkit.unfinished import sweep, unfinished

BY_SOURCE = "by_source"
"""Key of metrics.json below which the same stands by source, where data have several."""
MANIFEST_KINDS: dict[str, type | tuple[type, ...]] = {
    "state": str,
    "started": str,
    "finished": str,
    "data": dict,
    "label_names": list,
    "hashes": dict,
    "hashes.data": dict,
    "former_hashes": list,
    "replaces": list,
    "changed": list,
    "versions": dict,
    "training": dict,
    "training.fit": dict,
}
"""What manifest.json holds under the keys that are read later."""


class Run:
    """One run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.manifest_file = path / "manifest.json"
        self.history_file = path / "history.jsonl"
        self.probes_dir = path / "probes"
        self.probe_rows_file = self.probes_dir / "rows.npz"
        self.final_test_file = self.probes_dir / "final_test.npz"
        self.out_of_fold_file = self.probes_dir / "out_of_fold.npz"
        self.metrics_file = path / "metrics.json"
        self.skipped_file = path / "skipped_rows.jsonl"
        self.model_dir = path / "model"
        self.first_model_dir = path / "before_refit"
        self.checkpoints_dir = path / "checkpoints"
        self.predictions_dir = path / "predictions"
        self.eval_dir = path / "eval"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __fspath__(self) -> str:
        """A run stands wherever a path is asked for."""
        return str(self.path)

    def _repr_html_(self) -> str:
        """The scores, for a notebook."""
        header = ("split", "metric", "value", "95 % interval", "rows")
        return as_html(
            f"{self.path} ({self.state()})",
            header,
            score_rows({name: found for name, found in self.metrics().items() if name != BY_SOURCE}),
        )

    @property
    def refit(self) -> Run:
        """The second training of a run with training.refit: a run within, of which no command is asked."""
        return Run(self.path / "refit")

    @property
    def judged_dir(self) -> Path:
        """The model whose validation rows are held out: model/, and of a run with a refit the one before it."""
        return self.first_model_dir if self.first_model_dir.is_dir() else self.model_dir

    def forget_refit(self) -> None:
        """Remove what a refit made, but for the model, where the training before it goes on."""
        for folder in (self.first_model_dir, self.refit.path):
            shutil.rmtree(folder, ignore_errors=True)

    def probe_file(self, step: int) -> Path:
        """Losses of the two probes after a step."""
        return self.probes_dir / f"{step:09d}.npz"

    def probe_files(self) -> list[Path]:
        """The files of all evaluations, in the order of their steps."""
        return sorted(self.probes_dir.glob("[0-9]*.npz"), key=lambda file: int(file.stem))

    def predictions_file(self, split: str) -> Path:
        """Predictions of one split, one JSON object a row."""
        return self.predictions_dir / f"{split}.jsonl"

    def checkpoints(self, *, limit: int = 2) -> Checkpoints:
        """The sealed checkpoints, `limit` of them; of what the run was made of before changes were allowed, too."""
        manifest = self.manifest()
        former = tuple(manifest.get("former_hashes") or ())
        return Checkpoints(self.checkpoints_dir, self.told("hashes"), former=former, limit=limit)

    def manifest(self) -> dict[str, Any]:
        """Read manifest.json.

        Raises:
            UserError: it cannot be read, or holds something else.
        """
        return read_json_object(self.manifest_file, MANIFEST_KINDS)

    def told(self, name: str) -> dict[str, Any]:
        """A part of manifest.json that every run has.

        Raises:
            UserError: it is not there.
        """
        part: dict[str, Any] | None = self.manifest().get(name)
        if part is None:
            raise UserError(f"manifest.json does not tell its {name}", where=str(self.manifest_file))
        return part

    def state(self) -> str:
        """How it ended, or `running`; `killed` where it says so still and no process holds it but this one."""
        state = str(self.manifest().get("state") or "")
        # who was killed could not write that down; the lock tells
        return "killed" if state == "running" and not is_held_elsewhere(self.path) else state

    def metrics(self) -> dict[str, Any]:
        """Read metrics.json, by split, and under BY_SOURCE by source and split; empty for a run not come that far."""
        if not self.metrics_file.exists():
            return {}
        metrics = read_json_object(self.metrics_file)
        of_sources = metrics.get(BY_SOURCE, {})
        all_of_them = [value for name, value in metrics.items() if name != BY_SOURCE]
        for by_split in of_sources.values() if isinstance(of_sources, dict) else [None]:
            all_of_them += by_split.values() if isinstance(by_split, dict) else [None]
        for split in all_of_them:
            if not isinstance(split, dict) or not all(isinstance(entry, dict) for entry in split.values()):
                raise UserError("metrics.json does not hold entries by split and metric", where=str(self.metrics_file))
        return metrics

    def seconds(self) -> float | None:
        """From start to finish, pauses before a --resume included; None for a run that has not finished."""
        manifest = self.manifest()
        try:
            finished, started = (datetime.fromisoformat(manifest[name]) for name in ("finished", "started"))
        except (KeyError, TypeError, ValueError):
            return None
        return (finished - started).total_seconds()

    def update_manifest(self, **fields: Any) -> None:
        """Rewrite manifest.json with these fields replaced.

        Raises:
            FileNotFoundError: there is none: the run was moved or removed, and no stub of it is to take its name.
        """
        write_json(self.manifest_file, self.manifest() | fields)

    def remake(self, hashes: Mapping[str, Any], *, recipe_text: str, changed: list[dict[str, str]]) -> None:
        """Take note that the run goes on with something else than it was started with, and of what is different."""
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
        if target.parent != self.path:
            target.parent.mkdir(exist_ok=True)
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    @contextlib.contextmanager
    def new_model(self, target: Path | None = None) -> Iterator[Path]:
        """An empty folder in which a model is written, and which takes the place of its own when all went well.

        Args:
            target: model/, or the folder of the model before a refit.

        Raises:
            DiskError: the disk refused it.
        """
        target = target or self.model_dir
        with writing_told(target), unfinished(target.name, self.path, folder=True) as built:
            built.chmod(0o755)
            with held_folder(built) as held:
                yield held
            sync_tree(built)
            if target.exists():
                retired = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=self.path))
                target.rename(retired / target.name)
                built.rename(target)
                shutil.rmtree(retired)
            else:
                built.rename(target)

    def cut_history(self, *, step: int) -> None:
        """Forget what was written after a step from which training goes on, a line cut short by a kill included.

        Of a training that begins again, at step 0, nothing is kept.
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
        self.out_of_fold_file.unlink(missing_ok=True)
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
        for target in (self.model_dir, self.first_model_dir):
            for retired in self.path.glob(f".{target.name}.old.*/{target.name}"):
                if not target.exists():
                    retired.rename(target)
            for leftover in self.path.glob(f".{target.name}.*"):
                shutil.rmtree(leftover, ignore_errors=True)
        self.sweep()

    def sweep(self) -> None:
        """Remove what processes that are gone were writing into the run; called by whoever opens it."""
        sweep(self.path, self.probes_dir, self.predictions_dir, self.eval_dir)
