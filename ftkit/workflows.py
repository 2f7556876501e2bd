"""The Python API: each command of ftkit as a function that takes paths and returns values, and never prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit import runs
from ftkit.progress import Reporter, Silent
from ftkit.recipe.parse import LoadedRecipe, dump_recipe, load_recipe
from ftkit.recipe.schema import Recipe
from ftkit.runs import Run
from ftkit.storage import sha256_texts

if TYPE_CHECKING:
    import numpy.typing as npt

    from ftkit.data.load import Splits
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
    resume: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train what a recipe describes.

    Args:
        recipe_file: a YAML recipe.
        overrides: dotted `key=value` words.
        overwrite: replace an existing run of the same name.
        resume: go on with an existing run; a new one is started when there is none.
        reporter: hears notes and progress.

    Raises:
        UserError: anything that a person can mend.
    """
    return train_recipe(
        load_recipe(recipe_file, overrides), overwrite=overwrite, resume=resume, reporter=reporter or Silent()
    )


def train_recipe(loaded: LoadedRecipe, *, overwrite: bool, resume: bool, reporter: Reporter) -> TrainResult:
    """As `train`, for a recipe that has been read already."""
    recipe = loaded.recipe
    assert recipe.training.output_dir is not None, "load_recipe fills it"
    path = Path(recipe.training.output_dir)
    if not resume:
        runs.refuse_taken(path, overwrite=overwrite)
    stay_offline_unless_remote(recipe)

    from ftkit.models.checkpoint import locate
    from ftkit.training.tasks import TASKS

    checkpoint = locate(recipe.model)
    if checkpoint.note is not None:
        reporter.say(checkpoint.note)
    splits = TASKS[recipe.task].load_splits(recipe.data, seed=recipe.training.seed)
    for note in splits.notes:
        reporter.say(note)
    if resume and runs.is_run(path):
        hashes = _hashes(recipe, checkpoint, splits)
        return _go_on(path, recipe, splits, checkpoint=checkpoint, hashes=hashes, reporter=reporter)
    return train_splits(recipe, splits, checkpoint=checkpoint, overwrite=overwrite, reporter=reporter)


def train_splits(
    recipe: Recipe, splits: Splits, *, checkpoint: Checkpoint, overwrite: bool = False, reporter: Reporter
) -> TrainResult:
    """As `train`, for data that have been loaded and a base model that has been found already."""
    assert recipe.training.output_dir is not None, "load_recipe fills it"
    from ftkit.training.tasks import TASKS

    TASKS[recipe.task].rehearse(recipe, splits, checkpoint)
    hashes = _hashes(recipe, checkpoint, splits)
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


def _hashes(recipe: Recipe, checkpoint: Checkpoint, splits: Splits) -> dict[str, Any]:
    return {
        "recipe": sha256_texts([dump_recipe(recipe)]),
        "base_weights": checkpoint.weights_hash,
        "tokenizer": checkpoint.tokenizer_hash,
        "data": {split.name: split.fingerprint for split in splits.all()},
    }


def _start(path: Path, recipe: Recipe, splits: Splits, *, hashes: dict[str, Any], overwrite: bool) -> Run:
    from ftkit.environment import hardware, versions

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


def _go_on(
    path: Path,
    recipe: Recipe,
    splits: Splits,
    *,
    checkpoint: Checkpoint,
    hashes: dict[str, Any],
    reporter: Reporter,
) -> TrainResult:
    from ftkit.training.resume import newest_checkpoint, reopen, step_of

    run = reopen(path, hashes)
    if run.manifest()["state"] == "finished":
        reporter.say(f"{path} is finished already: nothing to resume")
        return TrainResult(run, run.metrics())
    resume_from = newest_checkpoint(run, reporter=reporter)
    if resume_from is None:
        reporter.say("no checkpoint to go on from: training starts again, stored features are reused")
    run.cut_history(step=0 if resume_from is None else step_of(resume_from))
    return _train_into(run, recipe, splits, checkpoint=checkpoint, reporter=reporter, resume_from=resume_from)


def _train_into(
    run: Run,
    recipe: Recipe,
    splits: Splits,
    *,
    checkpoint: Checkpoint,
    reporter: Reporter,
    resume_from: Path | None = None,
) -> TrainResult:
    from ftkit.report.model_card import write_model_card
    from ftkit.training.tasks import TASKS

    run.clear_staging()
    run.update_manifest(state="running")
    try:
        finished = TASKS[recipe.task].train(
            recipe, splits, run, checkpoint=checkpoint, reporter=reporter, resume_from=resume_from
        )
        write_model_card(run, recipe, splits=splits, metrics=finished.metrics, facts=finished.facts)
    except BaseException as error:
        run.update_manifest(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    run.update_manifest(state="finished", finished=datetime.now(UTC).isoformat(timespec="seconds"))
    return TrainResult(run, finished.metrics, finished.outputs, finished.facts)
