"""The Python API: each command of ftkit as a function that takes paths and returns values, and never prints."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.interruption import Interrupted
from ftkit.progress import Reporter, Silent
from ftkit.recipe.parse import LoadedRecipe, dump_recipe, load_recipe
from ftkit.recipe.schema import Recipe
from ftkit.runs import run as runs
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.disk import disk_failures_told
from ftkit.runs.lock import locked
from ftkit.runs.run import Run
from ftkit.storage import sha256_texts

if TYPE_CHECKING:
    import numpy.typing as npt

    from ftkit.data.dataset import Splits
    from ftkit.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        run: its directory.
        metrics: by split, as in metrics.json.
        outputs: of validation and test by the model that was kept: logits (N, K) of a classifier, nats a target of each
            row (N,) of a language model; empty for a run that was finished before.
        facts: of the training, as in the manifest.
    """

    run: Run
    metrics: dict[str, Any]
    outputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def train(
    recipe_file: Path,
    overrides: Sequence[str] = (),
    *,
    overwrite: bool = False,
    resume: bool | Path = False,
    allow_changed: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train what a recipe describes.

    Signals are left as they are: whoever wants SIGTERM to finish the step and seal a checkpoint listens to them, as the
    command line does (`ftkit.interruption.STOP.listening`).

    Args:
        recipe_file: a YAML recipe.
        overrides: dotted `key=value` words.
        overwrite: replace an existing run of the same name.
        resume: go on with an existing run, from its newest whole checkpoint or from the one named; a new run is
            started when there is none.
        allow_changed: fields that may differ from those the run was started with, as the refusal names them.
        reporter: hears notes and progress.

    Raises:
        UserError: anything that a person can mend.
        RunError: the run was under way and cannot go on.
        Interrupted: a signal was listened to.
    """
    loaded, reporter = load_recipe(recipe_file, overrides), reporter or Silent()
    return train_recipe(loaded, overwrite=overwrite, resume=resume, allow_changed=allow_changed, reporter=reporter)


def train_recipe(
    loaded: LoadedRecipe,
    *,
    overwrite: bool,
    resume: bool | Path,
    allow_changed: Sequence[str] = (),
    reporter: Reporter,
) -> TrainResult:
    """As `train`, for a recipe that has been read already."""
    recipe = loaded.recipe
    assert recipe.training.output_dir is not None, "load_recipe fills it"
    path = Path(recipe.training.output_dir)
    with disk_failures_told(path), locked(path, reporter=reporter):
        going_on = resume is not False and runs.is_run(path)
        if isinstance(resume, Path) and not going_on:
            raise UserError(f"{path} is no run to go on with", fix="say --resume without a checkpoint to start one")
        try:
            if going_on:
                asked = resume if isinstance(resume, Path) else None
                return _go_on(Run(path), recipe, asked=asked, allowed=allow_changed, reporter=reporter)
            if resume:
                reporter.say(f"there is no run {path} to go on with: a new one is started")
            runs.refuse_taken(path, overwrite=overwrite)
            return _begin(recipe, overwrite=overwrite, reporter=reporter)
        except Interrupted as stop:
            stop.advice = stop.advice or "nothing was trained yet"
            raise


def _begin(recipe: Recipe, *, overwrite: bool, reporter: Reporter) -> TrainResult:
    checkpoint, splits = load_base_and_data(recipe, reporter=reporter)
    return train_splits(recipe, splits, checkpoint=checkpoint, overwrite=overwrite, reporter=reporter)


def load_base_and_data(recipe: Recipe, *, reporter: Reporter) -> tuple[Checkpoint, Splits]:
    """Find the base model of a recipe and read its data; says what was assumed.

    Raises:
        UserError: there is no such model, or a row that a person can mend.
    """
    stay_offline_unless_remote(recipe)
    if recipe.model.trust_remote_code:
        reporter.say("model.trust_remote_code: true: code that comes with the checkpoint is run")

    from ftkit.models.checkpoint import locate
    from ftkit.tasks.table import task_of

    checkpoint = locate(recipe.model)
    if checkpoint.note is not None:
        reporter.say(checkpoint.note)
    splits = task_of(recipe.task).load_splits(recipe.data, seed=recipe.training.seed)
    for note in splits.notes:
        reporter.say(note)
    return checkpoint, splits


def train_splits(
    recipe: Recipe, splits: Splits, *, checkpoint: Checkpoint, overwrite: bool = False, reporter: Reporter
) -> TrainResult:
    """As `train`, for data that have been loaded and a base model that has been found already."""
    assert recipe.training.output_dir is not None, "load_recipe fills it"
    from ftkit.tasks.table import task_of

    task_of(recipe.task).rehearse(recipe, splits, checkpoint)
    hashes = hashes_of(recipe, checkpoint, splits)
    run = _start(Path(recipe.training.output_dir), recipe, splits, hashes=hashes, overwrite=overwrite)
    return _train_into(run, recipe, splits, checkpoint=checkpoint, reporter=reporter)


def stay_offline_unless_remote(recipe: Recipe) -> None:
    """Switch the hub off, for the rest of the process, when nothing in a recipe can come from it.

    Some libraries look the hub up even for local folders; huggingface_hub reads the switch when it is imported.
    """
    model = recipe.model.name_or_path
    data = recipe.data.dataset_name
    metrics = [name.partition(":")[2] for name in recipe.evaluation.metrics if name.startswith("evaluate:")]
    named = [model, *([data] if data is not None else []), *metrics]
    if all(_is_local(name) for name in named) and recipe.training.report_to == "none":
        for switch in ("HF_HUB_OFFLINE", "HF_EVALUATE_OFFLINE"):
            os.environ.setdefault(switch, "1")


def _is_local(name: str) -> bool:
    return name.startswith("builtin:") or Path(name).exists()


def hashes_of(recipe: Recipe, checkpoint: Checkpoint, splits: Splits) -> dict[str, Any]:
    """What a run is made of, as its manifest keeps it."""
    # where a run lies is no part of what it is: it may be moved
    homeless = recipe.model_copy(update={"training": recipe.training.model_copy(update={"output_dir": None})})
    return {
        "recipe": sha256_texts([dump_recipe(homeless)]),
        "base_weights": checkpoint.weights_hash,
        "tokenizer": checkpoint.tokenizer_hash,
        "data": {split.name: split.fingerprint for split in splits.all()},
    }


def _start(path: Path, recipe: Recipe, splits: Splits, *, hashes: dict[str, Any], overwrite: bool) -> Run:
    from ftkit.runs.environment import hardware, versions

    manifest = {
        "command": sys.argv,
        "seed": recipe.training.seed,
        "data": {split.name: {"rows": len(split), "source": split.source} for split in splits.all()},
        "data_notes": list(splits.notes),
        "label_names": list(splits.label_names),
        "hashes": hashes,
        "versions": versions(),
        "hardware": hardware(),
    }
    run = runs.create(path, recipe_text=dump_recipe(recipe), manifest=manifest, overwrite=overwrite)
    if splits.skipped:
        run.write_jsonl(
            run.skipped_file, ({"file": row.file, "line": row.line, "reason": row.reason} for row in splits.skipped)
        )
    return run


def _go_on(run: Run, recipe: Recipe, *, asked: Path | None, allowed: Sequence[str], reporter: Reporter) -> TrainResult:
    from ftkit.runs.environment import versions
    from ftkit.training.resume import (
        checkpoint_to_resume,
        content_changes,
        recipe_changes,
        refuse_changes,
        refuse_unknown_fields,
        version_notes,
    )

    refuse_unknown_fields(recipe, allowed)
    changes = recipe_changes(run, recipe)
    refuse_changes(run, changes, allowed=allowed)
    if run.manifest()["state"] == "finished" and not changes and asked is None:
        reporter.say(f"{run.path} is finished already: nothing to resume")
        return TrainResult(run, run.metrics())
    checkpoint, splits = load_base_and_data(recipe, reporter=reporter)
    hashes = hashes_of(recipe, checkpoint, splits)
    changes += content_changes(run, hashes, {split.name: len(split) for split in splits.all()})
    refuse_changes(run, changes, allowed=allowed)
    for change in changes:
        reporter.say(f"changed as allowed: {change.field}: {change.before} -> {change.now}")
    for note in version_notes(run.manifest()["versions"], versions()):
        reporter.say(note)
    run.remake(hashes, recipe_text=dump_recipe(recipe), changed=[change._asdict() for change in changes])
    resumed = checkpoint_to_resume(run, asked, reporter=reporter)
    run.cut_history(step=0 if resumed is None else resumed.progress.step)
    return _train_into(run, recipe, splits, checkpoint=checkpoint, reporter=reporter, resumed=resumed)


def _train_into(
    run: Run,
    recipe: Recipe,
    splits: Splits,
    *,
    checkpoint: Checkpoint,
    reporter: Reporter,
    resumed: SealedCheckpoint | None = None,
) -> TrainResult:
    from ftkit.tasks.table import task_of
    from ftkit.training.memory import exhaustion_told

    run.clear_staging()
    run.update_manifest(state="running")
    try:
        with exhaustion_told(recipe):
            finished = task_of(recipe.task).finetune(
                recipe, splits, run, checkpoint=checkpoint, reporter=reporter, resumed=resumed
            )
        write_model_card(run, recipe, splits=splits, metrics=finished.metrics, facts=finished.facts)
        run.update_manifest(state="finished", finished=datetime.now(UTC).isoformat(timespec="seconds"))
    except BaseException as error:
        # a disk that is full takes no note of it either
        with contextlib.suppress(OSError):
            state = "stopped" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
            run.update_manifest(state=state, error=f"{type(error).__name__}: {error}")
        if isinstance(error, Interrupted):
            newest = run.checkpoints().newest_name
            sealed = f"{newest} is sealed; " if newest else ""
            error.advice = f"{sealed}the run {run.path} goes on with --resume"
        raise
    return TrainResult(run, finished.metrics, finished.outputs, finished.facts)


def write_model_card(
    run: Run, recipe: Recipe, *, splits: Splits, metrics: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Write model/README.md.

    Args:
        run: a run whose model is in its place.
        recipe: what was asked.
        splits: the data.
        metrics: as in metrics.json.
        facts: of the training, as in the manifest.
    """
    from ftkit.report.card import Card, library_of, write_card
    from ftkit.report.terminal import score_rows
    from ftkit.tasks.table import task_of
    from ftkit.version import __version__

    task, folder = task_of(recipe.task), run.model_dir
    told = task.card_facts(recipe, splits, facts)
    rows = ", ".join(f"{len(split):,} {split.name}" for split in splits.all())
    card = Card(
        task=recipe.task,
        name=run.path.name,
        library=library_of(folder),
        base=recipe.model.name_or_path,
        method=recipe.method.type,
        version=__version__,
        data=f"{splits.train.source}; {rows}",
        scores=score_rows(metrics, beside_base=told.beside_base),
        chose_best=recipe.training.load_best_model_at_end,
        loading=task.loading_lines(folder, at=folder.name, name=run.path.name, prompt=told.prompt),
        recipe=run.recipe_file.read_text(encoding="utf-8"),
        told=told,
    )
    write_card(card, folder)
