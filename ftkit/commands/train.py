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
    from ftkit.diagnosis.report import Report
    from ftkit.evaluation.subject import Effort, Subject
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
    checkpoint, splits = _load(recipe, reporter=reporter)
    return train_splits(recipe, splits, checkpoint=checkpoint, overwrite=overwrite, reporter=reporter)


def _load(recipe: Recipe, *, reporter: Reporter) -> tuple[Checkpoint, Splits]:
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
    hashes = _hashes(recipe, checkpoint, splits)
    run = _start(Path(recipe.training.output_dir), recipe, splits, hashes=hashes, overwrite=overwrite)
    return _train_into(run, recipe, splits, checkpoint=checkpoint, reporter=reporter)


def evaluate(
    path: Path,
    *,
    recipe: Path | None = None,
    effort: Effort = "standard",
    out: Path | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Say whether a run is underfit, overfit or has forgotten, with the evidence, and write its report.

    Args:
        path: a run; or a model folder, with the recipe that says what data it is for.
        recipe: for a model that ftkit did not train.
        effort: quick leaves out what takes long; thorough makes short trainings with other settings too.
        out: folder for report.json, report.md and report.html; `eval/` of the run by default.
        reporter: hears notes and progress.

    Returns:
        What was found, as it was written.

    Raises:
        UserError: there is no run or model, or its data are no longer what it was trained on.
    """
    from ftkit.commands.eval import evaluate_subject
    from ftkit.report.eval.files import write_report

    reporter = reporter or Silent()
    subject = _subject(path, recipe, effort=effort, reporter=reporter)
    report = evaluate_subject(subject)
    folder = out or (subject.run.eval_dir if subject.run is not None else None)
    if folder is not None:
        with disk_failures_told(folder):
            write_report(report, folder)
    return report


def curve_verdict(run: Run) -> str:
    """One sentence about a finished run, from what was recorded while it trained; `evaluate` looks closer."""
    from ftkit.evaluation.learning_curve import curve_verdict as say

    return say(run, load_recipe(run.recipe_file, check_files=False).recipe)


def advised_recipe(run: Path, report: Report) -> str:
    """The recipe of a run with the advice of its report in it, as YAML text with the reasons as comments.

    Advice that no key of a recipe can carry out is left as a comment at the top.
    """
    from ftkit.commands.advised import advised_text

    recipe = load_recipe(runs.find_run(run).recipe_file, check_files=False).recipe
    return advised_text(recipe, report.verdict.changes)


def _subject(path: Path, recipe_file: Path | None, *, effort: Effort, reporter: Reporter) -> Subject:
    from ftkit.evaluation.subject import Subject
    from ftkit.training.probes import read_probes

    run = Run(path) if runs.is_run(path) else None
    if run is None and recipe_file is None:
        if not path.exists():
            runs.find_run(path)
        raise UserError(
            f"{path} is no run of ftkit", fix="for a model alone say --recipe recipe.yaml, which names data"
        )
    if run is not None and not run.model_dir.is_dir():
        raise UserError(f"the run {path} has no model yet ({run.state()})", fix="ftkit train with --resume finishes it")
    source = recipe_file if recipe_file is not None else Run(path).recipe_file
    recipe = load_recipe(source).recipe
    checkpoint, splits = _load(recipe, reporter=reporter)
    if run is not None:
        _refuse_other_data(run, splits, _hashes(recipe, checkpoint, splits))
    return Subject(
        recipe=recipe,
        splits=splits,
        checkpoint=checkpoint,
        model_dir=run.model_dir if run is not None else path,
        run=run,
        curve=read_probes(run) if run is not None else [],
        effort=effort,
        reporter=reporter,
    )


def _refuse_other_data(run: Run, splits: Splits, hashes: Mapping[str, Any]) -> None:
    from ftkit.training.resume import content_changes

    changes = content_changes(run, dict(hashes), {split.name: len(split) for split in splits.all()})
    if changes:
        named = "; ".join(f"{change.field}: {change.before} -> {change.now}" for change in changes)
        raise UserError(
            f"the run {run.path} was trained on something else: {named}",
            fix="put the files back, or judge its model with other data: ftkit eval RUN/model --recipe recipe.yaml",
        )


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


def _hashes(recipe: Recipe, checkpoint: Checkpoint, splits: Splits) -> dict[str, Any]:
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
    checkpoint, splits = _load(recipe, reporter=reporter)
    hashes = _hashes(recipe, checkpoint, splits)
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
    from ftkit.tasks.classification.card import write_model_card
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
